/* Owns the handler of SIGINT, SIGTERM and SIGHUP, which all three ask for a clean end, and that of SIGBUS. */
#include "interrupt.h"

#include <signal.h>
#include <stddef.h>
#include <unistd.h>

static sluice_session *volatile watched;
static volatile sig_atomic_t requests, held;

static void on_interrupt(int number)
{
    if (!watched && !held) _exit(sluice_status_exit_code(SLUICE_CANCELLED));
    if (requests) {
        signal(number, SIG_DFL);
        raise(number);
        return;
    }
    requests = 1;
    if (watched) sluice_session_cancel(watched);
}

static struct sigaction bus_error_before;

/* What is not ours happens as it would without this handler: on return the access fails again, and a signal that
 * somebody sent comes again. */
static void on_bus_error(int number, siginfo_t *info, void *context)
{
    (void)context;
    const bool sent = info->si_code <= 0;
    if (!sent && sluice_absorb_bus_error(info->si_addr)) return;
    sigaction(number, &bus_error_before, NULL);
    if (sent) raise(number);
}

void interrupt_install(void)
{
    struct sigaction bus_error = {.sa_sigaction = on_bus_error, .sa_flags = SA_SIGINFO};
    sigemptyset(&bus_error.sa_mask);
    sigaction(SIGBUS, &bus_error, &bus_error_before);
    struct sigaction action = {.sa_handler = on_interrupt, .sa_flags = SA_RESTART}, old;
    sigemptyset(&action.sa_mask);
    static const int numbers[] = {SIGINT, SIGTERM, SIGHUP};
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) /* who starts us may want one ignored (nohup) */
        if (sigaction(numbers[i], NULL, &old) != 0 || old.sa_handler != SIG_IGN) sigaction(numbers[i], &action, NULL);
}

void interrupt_watch(sluice_session *session) { watched = session; }

void interrupt_hold(bool hold) { held = hold; }

bool interrupt_requested(void) { return requests != 0; }
