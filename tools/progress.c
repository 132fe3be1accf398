/* Owns drawing of the progress bar. */
#include "progress.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "output.h"

enum { BAR_CELLS = 24 };

static const double patience = 2.0;    /* seconds that pass without a bar */
static const double first_guess = 0.4; /* seconds after which the rate is worth an estimate */
static const double redraw_every = 0.1;

static bool bar_on_screen;

double clock_seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

struct progress progress_begin(const char *label, enum progress_unit unit)
{
    const char *terminal = getenv("TERM"), *no_colour = getenv("NO_COLOR");
    struct progress p = {.label = label, .unit = unit, .started = clock_seconds()};
    p.terminal = isatty(STDERR_FILENO) && terminal && strcmp(terminal, "dumb") != 0;
    p.colour = !(no_colour && *no_colour);
    return p;
}

static void draw(const struct progress *p, double share, double rate, double left)
{
    char cells[BAR_CELLS + 1], speed[48] = "";
    int full = (int)(share * BAR_CELLS);
    for (int i = 0; i < BAR_CELLS; i++) cells[i] = i < full ? '#' : '.';
    cells[BAR_CELLS] = 0;
    if (p->unit == PROGRESS_BYTES)
        snprintf(speed, sizeof speed, "%s/s", human_bytes(rate).text);
    else if (p->unit == PROGRESS_TOKENS)
        snprintf(speed, sizeof speed, "%.1f tokens/s", rate);
    fprintf(stderr, "\r%s [%s%s%s] %3d%%  %s", p->label, p->colour ? "\033[32m" : "", cells, p->colour ? "\033[0m" : "",
            (int)(share * 100), speed);
    if (left < 359999) fprintf(stderr, "  %d:%02d left", (int)left / 60, (int)left % 60);
    fputs("\033[K", stderr);
    fflush(stderr);
    bar_on_screen = true;
}

void progress_update(struct progress *p, uint64_t done, uint64_t total)
{
    double now = clock_seconds(), elapsed = now - p->started;
    if (!p->terminal || total == 0 || done == 0 || done > total || now - p->drawn < redraw_every) return;
    double share = (double)done / (double)total, rate = (double)done / elapsed;
    bool long_work = elapsed >= patience || (elapsed >= first_guess && elapsed / share > patience);
    if (!long_work) return;
    p->drawn = now;
    draw(p, share, rate, (double)(total - done) / rate);
}

void progress_end(struct progress *p)
{
    p->drawn = 0;
    progress_clear();
}

void progress_clear(void)
{
    if (!bar_on_screen) return;
    fputs("\r\033[K", stderr);
    fflush(stderr);
    bar_on_screen = false;
}
