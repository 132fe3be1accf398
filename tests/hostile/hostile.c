/* Owns what all cases of the catalogue share (see hostile.h). */
#include "tests/hostile/hostile.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

const struct hostile_list hostile_lists[N_HOSTILE_LISTS] = {
    {"gguf", hostile_gguf, &n_hostile_gguf},
    {"safetensors", hostile_safetensors, &n_hostile_safetensors},
    {"config", hostile_config, &n_hostile_config},
    {"tokenizer", hostile_tokenizer, &n_hostile_tokenizer},
};

void hostile_open_file(struct hostile *h, const char *name)
{
    snprintf(h->path, sizeof h->path, "%s/%s", h->folder.path, name);
}

void hostile_write(struct hostile *h, const struct hostile_case *c, const char *parent)
{
    *h = (struct hostile){0};
    snprintf(h->folder.path, sizeof h->folder.path, "%s/model", parent);
    snprintf(h->path, sizeof h->path, "%s", h->folder.path);
    if (mkdir(h->folder.path, 0777) != 0) {
        perror(h->folder.path);
        abort();
    }
    c->write(h, c->value);
}

bool hostile_fits(const char *line, const char *found, const struct hostile *h)
{
    size_t n;
    for (line = line ? line : ""; *line; line++) {
        n = 1;
        if (*line == HOSTILE_REST[0]) return true;
        if (*line == HOSTILE_FOLDER[0]) {
            n = strlen(h->folder.path);
            if (strncmp(found, h->folder.path, n) != 0) return false;
        } else if (*line == HOSTILE_NUMBER[0]) {
            n = strspn(found, "0123456789.");
            if (n == 0) return false;
        } else if (*found != *line) {
            return false;
        }
        found += n;
    }
    return *found == 0;
}
