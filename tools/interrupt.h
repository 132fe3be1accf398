/* Owns signals. Ctrl-C: the first one asks the watched session to stop, a second one ends the process at once; while no
 * session is watched, and nothing held, the first one ends it, with the exit code of a cancelled run. SIGBUS: what is
 * lost of a model file that became shorter is an error of the call that reads it. */
#ifndef TOOLS_INTERRUPT_H
#define TOOLS_INTERRUPT_H

#include <stdbool.h>

#include "sluice/sluice.h"

void interrupt_install(void);                  /* once; a process that was started to ignore SIGINT goes on so */
void interrupt_watch(sluice_session *session); /* NULL: none, to be called before a session is freed */
bool interrupt_requested(void);
/* While held, the first request is only noted, as if a session were watched: for work that asks and leaves no file. */
void interrupt_hold(bool hold);

#endif
