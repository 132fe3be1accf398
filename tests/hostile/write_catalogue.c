/* Writes every case of the catalogue of malformed files into a folder, for people and as seeds of fuzzers:
 *
 *     write_catalogue FOLDER
 *
 * FOLDER/LIST/ROW-WHAT/model holds a case; what is no letter or digit in WHAT becomes a dash. FOLDER/list.txt has a
 * line for each: what to open, the exit code, and the line that must come of it. */
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "sluice/sluice.h"
#include "tests/hostile/hostile.h"

static void make(const char *path)
{
    if (mkdir(path, 0777) == 0) return;
    perror(path);
    exit(EXIT_FAILURE);
}

static void write_case(const char *folder, const struct hostile_case *c, FILE *index)
{
    struct hostile h;
    char path[500];
    size_t n = (size_t)snprintf(path, sizeof path, "%s/%s-%s", folder, c->row, c->what);
    if (n >= sizeof path) n = sizeof path - 1;
    for (size_t i = strlen(folder) + 1; i < n; i++)
        if (!isalnum((unsigned char)path[i])) path[i] = '-';
    make(path);
    hostile_write(&h, c, path);
    if (h.skip) {
        fprintf(stderr, "%s %s: not on this machine: %s\n", c->row, c->what, h.skip);
        return;
    }
    fprintf(index, "%s\t%d\t", h.path, sluice_status_exit_code((sluice_status)c->status));
    for (const char *p = c->line ? c->line : ""; *p; p++) {
        const char *known = *p == HOSTILE_FOLDER[0]   ? h.folder.path
                            : *p == HOSTILE_NUMBER[0] ? "NUMBER"
                            : *p == HOSTILE_REST[0]   ? "..."
                                                      : NULL;
        if (known)
            fputs(known, index);
        else
            fputc(*p, index);
    }
    fputc('\n', index);
}

int main(int argc, char **argv)
{
    char path[400];
    if (argc != 2 || strlen(argv[1]) > 300) {
        fprintf(stderr, "usage: write_catalogue FOLDER\n");
        return EXIT_FAILURE;
    }
    make(argv[1]);
    snprintf(path, sizeof path, "%s/list.txt", argv[1]);
    FILE *index = fopen(path, "w");
    if (!index) {
        perror(path);
        return EXIT_FAILURE;
    }
    size_t n = 0;
    for (int l = 0; l < N_HOSTILE_LISTS; l++) {
        snprintf(path, sizeof path, "%s/%s", argv[1], hostile_lists[l].name);
        make(path);
        for (size_t i = 0; i < *hostile_lists[l].n; i++, n++) write_case(path, &hostile_lists[l].cases[i], index);
    }
    if (fclose(index) != 0) {
        perror("list.txt");
        return EXIT_FAILURE;
    }
    printf("%zu cases\n", n);
    return EXIT_SUCCESS;
}
