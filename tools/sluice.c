/* The program `sluice`: the table of commands, help, version, and the way out with one line per error. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "commands.h"
#include "interrupt.h"
#include "output.h"

static const struct command *const commands[] = {
    &command_run,   &command_inspect, &command_tokenize, &command_logits, &command_verify, &command_quantize,
    &command_bench, &command_profile, &command_trace,    &command_stats,
};
enum { N_COMMANDS = sizeof commands / sizeof *commands };

static void print_overview(void)
{
    printf("usage: sluice COMMAND [options]\n\n"
           "Runs open-weight mixture-of-experts language models on ordinary CPUs.\n\ncommands:\n");
    for (size_t i = 0; i < N_COMMANDS; i++) {
        int column = printf("  %-10s  ", commands[i]->name);
        args_print_wrapped(stdout, commands[i]->summary, column, column);
    }
    printf("\n`sluice COMMAND --help` explains a command. Results go to standard output, everything else to\n"
           "standard error. Exit codes: 0 done, 1 wrong usage, 2 malformed or deviating file, 3 a file cannot be\n"
           "opened, read or written, 4 not enough memory, 130 interrupted.\n");
}

static void print_version(void)
{
#if defined(__x86_64__)
    static const char machine[] = "x86-64";
#elif defined(__aarch64__)
    static const char machine[] = "aarch64";
#else
    static const char machine[] = "other";
#endif
#if defined(__clang__)
    static const char compiler[] = "clang " __clang_version__;
#else
    static const char compiler[] = "gcc " __VERSION__;
#endif
    printf("sluice %s\nmachine   %s, %s\ncompiler  %s\n", sluice_version(), machine, sluice_isa(), compiler);
}

static const struct command *find_command(const char *name, sluice_error *error)
{
    const char *names[N_COMMANDS];
    char shown[128];
    for (size_t i = 0; i < N_COMMANDS; i++) {
        if (strcmp(name, commands[i]->name) == 0) return commands[i];
        names[i] = commands[i]->name;
    }
    const char *nearest = args_nearest(name, names, N_COMMANDS);
    quote_bytes(shown, sizeof shown, name, strlen(name));
    if (nearest)
        set_error(error, SLUICE_ARGUMENT, "unknown command %s, did you mean %s?", shown, nearest);
    else
        set_error(error, SLUICE_ARGUMENT, "unknown command %s (sluice --help lists them)", shown);
    return NULL;
}

static sluice_status run_command(const struct command *command, int argc, char *const *argv, sluice_error *error)
{
    bool help;
    void *values = calloc(1, command->values_bytes);
    if (!values) return set_error(error, SLUICE_MEMORY, "not enough memory");
    sluice_status status = args_parse(command, argc, argv, values, &help, error);
    if (!status && help)
        args_print_help(stdout, command);
    else if (!status)
        status = command->run(values, error);
    free(values);
    return status;
}

static sluice_status dispatch(int argc, char *const *argv, sluice_error *error)
{
    if (argc < 2) return set_error(error, SLUICE_ARGUMENT, "no command is named (sluice --help lists them)");
    if (strcmp(argv[1], "--version") == 0) {
        print_version();
        return SLUICE_OK;
    }
    bool help = strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0 || strcmp(argv[1], "help") == 0;
    if (help && argc == 2) {
        print_overview();
        return SLUICE_OK;
    }
    const struct command *command = find_command(argv[help ? 2 : 1], error);
    if (!command) return error->status;
    if (!help) return run_command(command, argc - 2, argv + 2, error);
    args_print_help(stdout, command);
    return SLUICE_OK;
}

/* A closed standard stream would give its number to the next file that is opened, and results would go into it. */
static void keep_standard_streams_apart(void)
{
    for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++) {
        if (fcntl(fd, F_GETFD) == -1 && errno == EBADF) {
            int flags = fd == STDOUT_FILENO ? O_RDONLY : O_RDWR; /* writing to a closed output stays an error */
            if (open("/dev/null", flags) != fd) _exit(sluice_status_exit_code(SLUICE_IO));
        }
    }
}

int main(int argc, char **argv)
{
    sluice_error error = {0};
    keep_standard_streams_apart();
    signal(SIGPIPE, SIG_IGN);
    signal(SIGXFSZ, SIG_IGN); /* a file that may not grow is an error like a full disk */
    interrupt_install();
    sluice_status status = dispatch(argc, argv, &error);
    if (status) {
        if (status != SLUICE_CANCELLED) report_error(error.text);
        fflush(stdout); /* what was printed before the failure, as far as it goes */
        return sluice_status_exit_code(status);
    }
    status = output_flush(&error);
    if (status) report_error(error.text);
    return sluice_status_exit_code(status);
}
