/* Owns the handler of SIGINT. */
#include "interrupt.h"

#include <signal.h>
#include <stddef.h>
#include <unistd.h>

static sluice_session *volatile watched;
static volatile sig_atomic_t requests;

static void on_interrupt(int number)
{
    if (!watched) _exit(sluice_status_exit_code(SLUICE_CANCELLED));
    if (requests) {
        signal(number, SIG_DFL);
        raise(number);
        return;
    }
    requests = 1;
    sluice_session_cancel(watched);
}

void interrupt_install(void)
{
    struct sigaction action = {.sa_handler = on_interrupt, .sa_flags = SA_RESTART}, old;
    sigemptyset(&action.sa_mask);
    if (sigaction(SIGINT, NULL, &old) == 0 && old.sa_handler == SIG_IGN) return;
    sigaction(SIGINT, &action, NULL);
}

void interrupt_watch(sluice_session *session) { watched = session; }

bool interrupt_requested(void) { return requests != 0; }
