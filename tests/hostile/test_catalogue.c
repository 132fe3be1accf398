/* Runs the catalogue of malformed files (hostile.h): through the library, with the weights packed, left in the mapped
 * file and read, and through the program. Each case must end with its one line and its exit code, leave nothing mapped,
 * lose no block of memory and not make the process grow. No time is measured: a case that hangs ends with ctest. */
#include <criterion/criterion.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "sluice/sluice.h"
#include "tests/hostile/hostile.h"
#include "tests/weights/expect.h"

static const size_t max_growth = 64 << 20;

static struct test_folder parent; /* of the folder of the running case */
static void create(void);
static void destroy(void) { folder_remove(&parent); }
TestSuite(catalogue, .init = create, .fini = destroy);

extern void __sanitizer_print_stack_trace(void) __attribute__((weak));
extern void __sanitizer_set_death_callback(void (*callback)(void)) __attribute__((weak));

/* Sanitizers and emulators have memory of their own. */
static bool memory_counts(void)
{
#ifdef SLUICE_PROGRAM
    return !__sanitizer_print_stack_trace;
#else
    return false;
#endif
}

/* ---- which case it was when the process dies --------------------------------------------------------------------- */

static char running[256];

static void say_running(void)
{
    if (write(STDERR_FILENO, running, strlen(running)) < 0) return;
}

static void die(int number)
{
    say_running();
    signal(number, SIG_DFL);
    raise(number);
}

static void create(void)
{
    folder_create(&parent);
    if (__sanitizer_set_death_callback) {
        __sanitizer_set_death_callback(say_running);
        return;
    }
    static const int signals[] = {SIGSEGV, SIGFPE, SIGABRT, SIGILL};
    for (size_t i = 0; i < sizeof signals / sizeof *signals; i++) signal(signals[i], die);
}

/* ---- through the library ----------------------------------------------------------------------------------------- */

/* The ways that weights get into memory. */
static const struct {
    const char *name;
    unsigned flags;
} ways[] = {
    {"packed", 0},
    {"in place", SLUICE_OPEN_NO_REPACK},
    {"read", SLUICE_OPEN_READ},
};
enum { N_WAYS = sizeof ways / sizeof *ways };

struct warnings {
    char text[4096]; /* one after the other, with line ends between them */
};

static void keep_warning(void *context, const char *text)
{
    struct warnings *w = context;
    const size_t n = strlen(w->text);
    snprintf(w->text + n, sizeof w->text - n, "%s%s", n ? "\n" : "", text);
}

/* A line of /proc/self/status in bytes: "VmHWM" is the peak of memory since forget_peak(). */
static size_t status_bytes(const char *name)
{
    char line[256];
    size_t kib = 0;
    FILE *file = fopen("/proc/self/status", "r");
    while (file && fgets(line, sizeof line, file))
        if (strncmp(line, name, strlen(name)) == 0) sscanf(line + strlen(name), ": %zu kB", &kib);
    if (file) fclose(file);
    return kib << 10;
}

static void forget_peak(void)
{
    FILE *file = fopen("/proc/self/clear_refs", "w");
    if (!file) return;
    fputs("5", file);
    fclose(file);
}

/* The first pass of an open engine. */
static sluice_status run_pass(const sluice_engine *engine, sluice_error *error)
{
    static const int32_t token = 1;
    sluice_session *session = NULL;
    sluice_session_options o = sluice_session_options_default();
    o.n_context = 1;
    sluice_status status = sluice_session_create(&session, engine, &o, error);
    if (status) return status;
    status = sluice_session_prefill(session, &token, 1);
    if (status) snprintf(error->text, sizeof error->text, "%s", sluice_session_error(session));
    sluice_session_free(&session);
    return status;
}

static void check_opening(const struct hostile_case *c, const struct hostile *h, const char *way, unsigned flags)
{
    struct warnings warnings = {""};
    sluice_engine *engine = (sluice_engine *)1;
    sluice_error error = {0};
    sluice_engine_options o = sluice_engine_options_default();
    o.flags = flags;
    o.n_threads = 1;
    o.warning = keep_warning;
    o.context = &warnings;
    forget_peak();
    const size_t before = status_bytes("VmHWM");
    sluice_status status = sluice_engine_open(&engine, h->path, &o, &error);
    cr_expect_eq(engine == NULL, status != SLUICE_OK, "%s %s, %s: engine", c->row, c->what, way);
    const bool passes = !status && c->flags & HOSTILE_PASS;
    if (passes) status = run_pass(engine, &error);
    sluice_engine_close(&engine);
    const size_t growth = status_bytes("VmHWM") - before;

    const char *found = status ? error.text : warnings.text;
    cr_expect_eq((int)status, c->status, "%s %s, %s: status %s, expected %s: %s", c->row, c->what, way,
                 sluice_status_name(status), sluice_status_name((sluice_status)c->status), found);
    cr_expect(hostile_fits(c->line, found, h), "%s %s, %s:\n     got: %s\nexpected: %s", c->row, c->what, way, found,
              c->line ? c->line : "");
    if (status) cr_expect_str_empty(warnings.text, "%s %s, %s: %s", c->row, c->what, way, warnings.text);
    if (memory_counts())
        cr_expect_leq(growth, max_growth, "%s %s, %s: grew by %zu bytes", c->row, c->what, way, growth);
}

static void check_in_library(const struct hostile_case *c, const struct hostile *h)
{
    if (c->flags & HOSTILE_TOKENIZER) {
        check_opening(c, h, "tokenizer", SLUICE_OPEN_TOKENIZER_ONLY);
    } else {
        const size_t n = c->flags & HOSTILE_WEIGHTS ? 1 : N_WAYS;
        for (size_t i = 0; i < n; i++) check_opening(c, h, ways[i].name, ways[i].flags);
    }
    expect_nothing_left(parent.path);
}

/* ---- through the program ----------------------------------------------------------------------------------------- */

#ifdef SLUICE_PROGRAM
struct ended {
    int code; /* exit code; that of a signal as a negative number */
    size_t peak_bytes;
    char out[4096], err[8192];
};

static void read_file(const char *path, char *out, size_t cap)
{
    FILE *file = fopen(path, "rb");
    size_t n = file ? fread(out, 1, cap - 1, file) : 0;
    if (file) fclose(file);
    out[n] = 0;
}

static struct ended run_program(char *const arguments[])
{
    extern char **environ;
    struct ended e = {0};
    char out[600], err[600];
    posix_spawn_file_actions_t actions;
    struct rusage usage = {0};
    pid_t child = -1;
    int how = 0;
    snprintf(out, sizeof out, "%s/out", parent.path);
    snprintf(err, sizeof err, "%s/err", parent.path);
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, out, O_WRONLY | O_CREAT | O_TRUNC, 0666);
    posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, err, O_WRONLY | O_CREAT | O_TRUNC, 0666);
    forget_peak(); /* the child's peak begins with this process's */
    cr_assert_eq(posix_spawn(&child, arguments[0], &actions, NULL, arguments, environ), 0, "%s", arguments[0]);
    cr_assert_eq(wait4(child, &how, 0, &usage), child);
    posix_spawn_file_actions_destroy(&actions);
    e.code = WIFEXITED(how) ? WEXITSTATUS(how) : -WTERMSIG(how);
    e.peak_bytes = (size_t)usage.ru_maxrss << 10;
    read_file(out, e.out, sizeof e.out);
    read_file(err, e.err, sizeof e.err);
    return e;
}

/* What the program takes to say its version. */
static size_t idle_bytes(void)
{
    static size_t idle;
    char program[] = SLUICE_PROGRAM, version[] = "--version";
    if (!idle) idle = run_program((char *const[]){program, version, NULL}).peak_bytes;
    return idle;
}

/* `status` and `line` are those of the case, or of success where this command does not look so far. */
static void check_command(const struct hostile_case *c, const struct hostile *h, char *const arguments[], int status,
                          const char *line)
{
    const struct ended e = run_program(arguments);
    const int code = sluice_status_exit_code((sluice_status)status);
    char expected[5000] = "";
    if (line) snprintf(expected, sizeof expected, "%s: %s\n", status ? "error" : "warning", line);
    cr_expect_eq(e.code, code, "%s %s: %s: exit code %d, expected %d\n%s", c->row, c->what, arguments[1], e.code, code,
                 e.err);
    cr_expect(hostile_fits(expected, e.err, h), "%s %s: %s:\n     got: %s\nexpected: %s", c->row, c->what, arguments[1],
              e.err, expected);
    if (status) cr_expect_str_empty(e.out, "%s %s: %s: %s", c->row, c->what, arguments[1], e.out);
    if (memory_counts())
        cr_expect_leq(e.peak_bytes, idle_bytes() + max_growth, "%s %s: %s: grew to %zu bytes", c->row, c->what,
                      arguments[1], e.peak_bytes);
}

static void check_in_program_loading(const struct hostile_case *c, const struct hostile *h, char *way)
{
    char load[] = "--load";
    char program[] = SLUICE_PROGRAM, inspect[] = "inspect", tokenize[] = "tokenize", logits[] = "logits", p[] = "-p",
         text[] = "a", tokens[] = "--tokens", id[] = "1", o[] = "-o", path[sizeof h->path], npy[600];
    memcpy(path, h->path, sizeof path);
    snprintf(npy, sizeof npy, "%s/logits.npy", parent.path);
    if (c->flags & HOSTILE_TOKENIZER) {
        check_command(c, h, (char *const[]){program, tokenize, path, p, text, load, way, NULL}, c->status, c->line);
        return;
    }
    const bool looks_on = !(c->flags & (HOSTILE_WEIGHTS | HOSTILE_PASS));
    check_command(c, h, (char *const[]){program, inspect, path, load, way, NULL}, looks_on ? c->status : SLUICE_OK,
                  looks_on ? c->line : NULL);
    if (c->flags & (HOSTILE_WEIGHTS | HOSTILE_PASS))
        check_command(c, h, (char *const[]){program, logits, path, tokens, id, o, npy, load, way, NULL}, c->status,
                      c->line);
    remove(npy);
}

static void check_in_program(const struct hostile_case *c, const struct hostile *h)
{
    char mapped[] = "map", read[] = "read";
    check_in_program_loading(c, h, mapped);
    check_in_program_loading(c, h, read);
}
#endif

/* ---- all cases --------------------------------------------------------------------------------------------------- */

static void check_list(int number, void (*check)(const struct hostile_case *c, const struct hostile *h))
{
    const struct hostile_list *list = &hostile_lists[number];
    for (size_t i = 0; i < *list->n; i++) {
        struct hostile h;
        snprintf(running, sizeof running, "the case that ended the process: %s %s\n", list->cases[i].row,
                 list->cases[i].what);
        hostile_write(&h, &list->cases[i], parent.path);
        if (h.skip)
            fprintf(stderr, "%s %s: not on this machine: %s\n", list->cases[i].row, list->cases[i].what, h.skip);
        else
            check(&list->cases[i], &h);
        folder_remove(&h.folder);
    }
}

enum { GGUF, SAFETENSORS, CONFIG, TOKENIZER };
Test(catalogue, gguf_in_the_library) { check_list(GGUF, check_in_library); }
Test(catalogue, safetensors_in_the_library) { check_list(SAFETENSORS, check_in_library); }
Test(catalogue, config_in_the_library) { check_list(CONFIG, check_in_library); }
Test(catalogue, tokenizer_in_the_library) { check_list(TOKENIZER, check_in_library); }

#ifdef SLUICE_PROGRAM
Test(catalogue, gguf_in_the_program) { check_list(GGUF, check_in_program); }
Test(catalogue, safetensors_in_the_program) { check_list(SAFETENSORS, check_in_program); }
Test(catalogue, config_in_the_program) { check_list(CONFIG, check_in_program); }
Test(catalogue, tokenizer_in_the_program) { check_list(TOKENIZER, check_in_program); }
#endif

/* A slip in a list could leave something unchecked. */
Test(catalogue, the_lists_are_in_order)
{
    for (int l = 0; l < N_HOSTILE_LISTS; l++) {
        const struct hostile_list *list = &hostile_lists[l];
        for (size_t i = 0; i < *list->n; i++) {
            const struct hostile_case *c = &list->cases[i];
            cr_assert(c->row && c->what && c->write, "%s, case %zu", list->name, i);
            cr_expect_eq(strlen(c->row), 3, "%s", c->row);
            cr_expect(c->status == SLUICE_OK || (c->line && c->line[0]), "%s %s: no line", c->row, c->what);
            for (size_t k = 0; k < i; k++)
                cr_expect(strcmp(c->row, list->cases[k].row) != 0 || strcmp(c->what, list->cases[k].what) != 0,
                          "%s %s: twice", c->row, c->what);
        }
    }
}

/* What the other tests rely on: lines that differ do not fit. */
Test(catalogue, lines_fit_exactly)
{
    const struct hostile h = {.folder = {"/a/model"}};
    cr_expect(hostile_fits("x: y", "x: y", &h));
    cr_expect(hostile_fits(NULL, "", &h));
    cr_expect_not(hostile_fits(NULL, "x", &h));
    cr_expect_not(hostile_fits("x: y", "x: yz", &h));
    cr_expect_not(hostile_fits("x: yz", "x: y", &h));
    cr_expect(hostile_fits("<" HOSTILE_FOLDER ">", "</a/model>", &h));
    cr_expect_not(hostile_fits("<" HOSTILE_FOLDER ">", "</a/modem>", &h));
    cr_expect(hostile_fits("need " HOSTILE_NUMBER " GB", "need 12.5 GB", &h));
    cr_expect_not(hostile_fits("need " HOSTILE_NUMBER " GB", "need - GB", &h));
    cr_expect(hostile_fits("a" HOSTILE_REST, "ab", &h));
    cr_expect_not(hostile_fits("a" HOSTILE_REST, "b", &h));
}
