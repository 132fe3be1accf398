/* Owns the progress bar on standard error and the clock of the tools. The bar exists only on a terminal, appears only
 * for work of more than about two seconds, and is gone when the work is done. One bar at a time. */
#ifndef TOOLS_PROGRESS_H
#define TOOLS_PROGRESS_H

#include <stdbool.h>
#include <stdint.h>

enum progress_unit { PROGRESS_BYTES, PROGRESS_TOKENS, PROGRESS_SHARE /* without a rate */ };

struct progress {
    const char *label;
    enum progress_unit unit;
    bool terminal, colour;
    double started, drawn; /* seconds; drawn 0: not on the screen */
};

double clock_seconds(void); /* monotonic */

struct progress progress_begin(const char *label, enum progress_unit unit);
/* May be called as often as one likes: it draws at most ten times a second. */
void progress_update(struct progress *p, uint64_t done, uint64_t total);
void progress_end(struct progress *p);
/* Takes the bar, if there is one, off the line, so that something else can be written there. */
void progress_clear(void);

#endif
