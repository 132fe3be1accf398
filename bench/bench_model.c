/* A whole model over the public interface: opening, prefill and decode at several contexts.
 *
 *     bench_model MODEL [-t THREADS] [-r ROUNDS] [-c CONTEXT]
 *     bench_model MODEL [-t THREADS] [-c CONTEXT] -i
 *
 * The first form prints rows of CSV; contexts beyond CONTEXT (16,448 unless given, or the model's limit) are left out.
 * The second says in one line of JSON what was opened, then answers requests, one per line, with one number each, until
 * the input ends: so another program can be measured in alternation (peers/compare_speed.py).
 *     tokens ID ID ...   the ids that everything below takes from the front, as often as necessary: how many
 *     prefill N          seconds for N tokens from an empty timeline
 *     decode C N         seconds for N tokens, one by one, after C others, which are not timed
 *     experts N          distinct experts of N tokens, a mean over layers with experts; 0 for dense models */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/harness.h"
#include "sluice/experimental.h"

enum { MAX_ROUNDS = 31, N_DECODE = 32, LONGEST_CONTEXT = 16384 + 64 };

struct bench {
    const char *path;
    int threads, rounds, context;
    bool interactive;
    sluice_engine *engine;
    sluice_session *session;
    sluice_model_info info;
    int32_t *ids; /* [context] what the timeline holds */
};

static void fail(const char *what)
{
    fprintf(stderr, "bench_model: %s\n", what);
    exit(1);
}

static void check(struct bench *b, sluice_status status)
{
    if (status) fail(sluice_session_error(b->session));
}

static void open_engine(struct bench *b)
{
    sluice_engine_options o = sluice_engine_options_default();
    sluice_error error;
    o.n_threads = b->threads;
    if (sluice_engine_open(&b->engine, b->path, &o, &error)) fail(error.text);
    sluice_engine_get_info(b->engine, &b->info);
}

static void open_session(struct bench *b)
{
    sluice_session_options o = sluice_session_options_default();
    sluice_error error;
    if (b->context > b->info.n_context) b->context = b->info.n_context;
    o.n_context = b->context;
    if (sluice_session_create(&b->session, b->engine, &o, &error)) fail(error.text);
    b->ids = malloc((size_t)b->context * sizeof *b->ids);
    if (!b->ids) fail("out of memory");
    unsigned long long state = 1;
    for (int i = 0; i < b->context; i++) {
        state = state * 6364136223846793005ULL + 1442695040888963407ULL;
        b->ids[i] = (int32_t)((state >> 33) % (unsigned)b->info.vocab_size);
    }
}

/* ---- what is measured -------------------------------------------------------------------------------------------- */

static double prefill(struct bench *b, int n)
{
    check(b, sluice_session_rewind(b->session, 0));
    double begin = bench_now_ns();
    check(b, sluice_session_prefill(b->session, b->ids, (size_t)n));
    return bench_now_ns() - begin;
}

static double decode(struct bench *b, int context, int n)
{
    if (context > 0)
        check(b, sluice_session_sync(b->session, b->ids, (size_t)context, NULL));
    else
        check(b, sluice_session_rewind(b->session, 0));
    sluice_session_reset_stats(b->session);
    double begin = bench_now_ns();
    for (int i = 0; i < n; i++) check(b, sluice_session_decode(b->session, b->ids[context + i]));
    return bench_now_ns() - begin;
}

struct distinct {
    unsigned char *seen; /* [windows, n_layers, n_experts] */
    size_t window;       /* tokens */
    size_t n_layers, n_experts;
};

static void see_experts(void *context, sluice_observation what, int layer, size_t first_position, size_t n_rows,
                        size_t width, const void *data)
{
    struct distinct *d = context;
    const int32_t *chosen = data;
    (void)what;
    for (size_t i = 0; i < n_rows * width; i++) {
        size_t window = (first_position + i / width) / d->window;
        d->seen[(window * d->n_layers + (size_t)layer) * d->n_experts + (size_t)chosen[i]] = 1;
    }
}

/* Mean over the layers with experts and as many windows of n tokens as fit into 128. */
static double distinct_experts(struct bench *b, int n)
{
    int most = b->context < 128 ? b->context : 128, n_windows = n < most ? most / n : 1;
    struct distinct d = {
        .window = (size_t)n, .n_layers = (size_t)b->info.n_layers, .n_experts = (size_t)b->info.n_experts};
    size_t cells = (size_t)n_windows * d.n_layers * d.n_experts, count = 0;
    if (b->info.n_moe_layers == 0) return 0;
    d.seen = calloc(cells, 1);
    if (!d.seen) fail("out of memory");
    sluice_observer observer = {.wanted = 1u << SLUICE_SEE_EXPERTS, .see = see_experts, .context = &d};
    check(b, sluice_session_observe(b->session, &observer));
    prefill(b, n_windows * n);
    check(b, sluice_session_observe(b->session, NULL));
    for (size_t i = 0; i < cells; i++) count += d.seen[i];
    free(d.seen);
    return (double)count / b->info.n_moe_layers / n_windows;
}

/* ---- requests ---------------------------------------------------------------------------------------------------- */

static int set_tokens(struct bench *b, char *list)
{
    int n = 0;
    for (char *word = strtok(list, " \n"); word && n < b->context; word = strtok(NULL, " \n"), n++) {
        b->ids[n] = atoi(word);
        if (b->ids[n] < 0 || b->ids[n] >= b->info.vocab_size) fail("a token id is out of range");
    }
    if (n == 0) fail("tokens: no ids");
    for (int i = n; i < b->context; i++) b->ids[i] = b->ids[i - n];
    return n;
}

static double answer(struct bench *b, char *line)
{
    int n = 0, context = 0;
    if (!strncmp(line, "tokens ", 7)) return set_tokens(b, line + 7);
    bool known = sscanf(line, "prefill %d", &n) == 1 || sscanf(line, "decode %d %d", &context, &n) == 2 ||
                 sscanf(line, "experts %d", &n) == 1;
    if (!known || n < 1 || context < 0 || n > b->context - context) fail("a request that is unknown or out of range");
    if (line[0] == 'e') return distinct_experts(b, n);
    return (line[0] == 'p' ? prefill(b, n) : decode(b, context, n)) / 1e9;
}

static void serve(struct bench *b)
{
    char *line = NULL;
    size_t cap = 0;
    printf("{\"isa\": \"%s\", \"threads\": %d, \"vocab_size\": %d, \"context\": %d}\n", b->info.isa, b->info.n_threads,
           b->info.vocab_size, b->context);
    fflush(stdout);
    while (getline(&line, &cap, stdin) > 0) {
        printf("%.9g\n", answer(b, line));
        fflush(stdout);
    }
    free(line);
}

/* ---- rows -------------------------------------------------------------------------------------------------------- */

static void row(const struct bench *b, const char *shape, double *samples, int n, double bytes, double flops)
{
    char name[64];
    snprintf(name, sizeof name, "%s", b->info.path_name);
    struct bench_case c = {
        .variant = name, .shape = shape, .threads = b->info.n_threads, .bytes = bytes, .flops = flops};
    bench_print(c, bench_quartiles(samples, n), 0);
}

static void measure_open(struct bench *b)
{
    double samples[3];
    for (int i = 0; i < 3; i++) {
        sluice_engine_close(&b->engine);
        double begin = bench_now_ns();
        open_engine(b);
        samples[i] = bench_now_ns() - begin;
    }
    row(b, "open", samples, 3, (double)b->info.file_bytes, 0);
}

static void measure(struct bench *b)
{
    static const int lengths[] = {1, 32, 128, 512, 2048}, contexts[] = {0, 1024, 4096, 16384};
    double samples[MAX_ROUNDS];
    char shape[64];
    sluice_session_stats stats;
    for (size_t i = 0; i < sizeof lengths / sizeof *lengths && lengths[i] <= b->context; i++) {
        for (int r = -1; r < b->rounds; r++) { /* the first is for the caches and the clock */
            sluice_session_reset_stats(b->session);
            double ns = prefill(b, lengths[i]);
            if (r >= 0) samples[r] = ns;
        }
        sluice_session_get_stats(b->session, &stats);
        double flops = 0;
        for (int p = 0; p < SLUICE_N_PEAKS; p++) flops += (double)stats.prefill_operations[p];
        snprintf(shape, sizeof shape, "prefill of %d", lengths[i]);
        row(b, shape, samples, b->rounds, (double)(stats.prefill_bytes + stats.decode_bytes), flops);
    }
    for (size_t i = 0; i < sizeof contexts / sizeof *contexts && contexts[i] + N_DECODE <= b->context; i++) {
        for (int r = -1; r < b->rounds; r++) {
            double ns = decode(b, contexts[i], N_DECODE) / N_DECODE;
            if (r >= 0) samples[r] = ns;
        }
        sluice_session_get_stats(b->session, &stats);
        snprintf(shape, sizeof shape, "decode after %d", contexts[i]);
        row(b, shape, samples, b->rounds, (double)stats.decode_bytes / N_DECODE, 0);
    }
}

static struct bench parse(int argc, char **argv)
{
    struct bench b = {.rounds = 7, .context = LONGEST_CONTEXT};
    for (int i = 1; i < argc; i++) {
        const char *value = i + 1 < argc ? argv[i + 1] : "";
        int *number = !strcmp(argv[i], "-t")   ? &b.threads
                      : !strcmp(argv[i], "-r") ? &b.rounds
                      : !strcmp(argv[i], "-c") ? &b.context
                                               : NULL;
        if (number && atoi(value) > 0)
            *number = atoi(value), i++;
        else if (!strcmp(argv[i], "-i"))
            b.interactive = true;
        else if (argv[i][0] != '-' && !b.path)
            b.path = argv[i];
        else
            b.path = NULL, argc = 0;
    }
    if (!b.path || b.rounds > MAX_ROUNDS) fail("usage: bench_model MODEL [-t THREADS] [-r ROUNDS] [-c CONTEXT] [-i]");
    return b;
}

int main(int argc, char **argv)
{
    struct bench b = parse(argc, argv);
    open_engine(&b);
    if (b.interactive) {
        open_session(&b);
        serve(&b);
    } else {
        bench_header();
        measure_open(&b);
        open_session(&b);
        measure(&b);
    }
    sluice_session_free(&b.session);
    sluice_engine_close(&b.engine);
    free(b.ids);
    return 0;
}
