/* A session: one timeline of tokens with its cache. Cuts prompts into chunks, opens the parallel region, moves the
 * cache's length, and where a model has states brings them to where the timeline ends. Read next:
 * kernel/model/forward.c. */
#include "engine/engine_internal.h"

#include <string.h>

#include "base/clock.h"
#include "base/memory.h"
#include "weights/archive.h"

enum { DEFAULT_CONTEXT = 4096, DEFAULT_CHUNK = 2048, MAX_CHUNK = 8192 };

sluice_session_options sluice_session_options_default(void) { return (sluice_session_options){0}; }

/* ---- creation ---------------------------------------------------------------------------------------------------- */

static sluice_status resolve_options(const sluice_engine *e, sluice_session_options *o, struct failure *f)
{
    const int limit = e->model.config.n_context;
    if (o->n_context == 0) o->n_context = limit < DEFAULT_CONTEXT ? limit : DEFAULT_CONTEXT;
    if (o->n_context < 1 || o->n_context > limit)
        return fail(f, SLUICE_ARGUMENT, "context: found %d, expected 1..%d, the model's context", o->n_context, limit);
    if (o->n_chunk < 0 || o->n_chunk > MAX_CHUNK)
        return fail(f, SLUICE_ARGUMENT, "chunk: found %d, expected 0..%d", o->n_chunk, MAX_CHUNK);
    if (o->n_chunk == 0) o->n_chunk = DEFAULT_CHUNK;
    if (o->n_chunk > o->n_context) o->n_chunk = o->n_context;
    enum dtype type;
    if (o->cache_type && !cache_type_from_word(o->cache_type, &type))
        return fail(f, SLUICE_ARGUMENT, "cache type: found \"%.16s\", expected f32, f16, bf16 or q8_0", o->cache_type);
    return surgery_check(&e->model.config, o->surgery, f);
}

/* Carves everything the session owns; run once to measure and once to carve. */
static void carve(sluice_session *s, bool has_marks, struct arena *arena)
{
    const struct model *m = &s->engine->model;
    cache_carve(&s->cache, &m->config, s->n_context, s->cache_type, arena);
    workspace_carve(&s->ws, m, s->n_chunk, s->engine->team.n_threads, s->n_context, arena);
    if (has_marks)
        s->surgery.marks = ARENA_TAKE(arena, unsigned char, (size_t)m->config.n_layers *(size_t)s->ws.n_experts);
    s->tokens = ARENA_TAKE(arena, int32_t, (size_t)s->n_context);
    s->rows = ARENA_TAKE(arena, struct row, (size_t)s->n_chunk);
    s->logits = ARENA_TAKE(arena, float, (size_t)s->ws.ld_vocab);
    if (s->cache.state_floats) s->kept_logits = ARENA_TAKE(arena, float, CACHE_CHECKPOINTS *(size_t)s->ws.ld_vocab);
    s->candidates = ARENA_TAKE(arena, struct candidate, (size_t)m->config.vocab_size);
    s->probabilities = ARENA_TAKE(arena, float, (size_t)s->ws.ld_vocab);
    s->kept_probabilities = ARENA_TAKE(arena, float, (size_t)s->ws.ld_vocab);
    s->penalised = ARENA_TAKE(arena, float, (size_t)s->ws.ld_vocab);
}

static void measure(sluice_session *s, const sluice_engine *e, const sluice_session_options *o)
{
    const sluice_expert_surgery none = {0}, *surgery = o->surgery ? o->surgery : &none;
    *s = (sluice_session){.engine = (sluice_engine *)e, .n_context = o->n_context, .n_chunk = o->n_chunk};
    s->cache_type = cache_default_type(e->model.main_dtype);
    if (o->cache_type) cache_type_from_word(o->cache_type, &s->cache_type);
    s->surgery = (struct surgery){.route = surgery->route, .context = surgery->context};
    s->ws.active_experts = surgery->active_experts;
    s->ws.dense_twin = surgery->dense_twin;
    carve(s, surgery_has_marks(surgery), &s->arena);
}

uint64_t session_bytes(const sluice_engine *e, const sluice_session_options *options)
{
    struct failure f;
    sluice_session_options o = options ? *options : sluice_session_options_default();
    sluice_session s;
    if (resolve_options(e, &o, &f)) return 0;
    measure(&s, e, &o);
    return s.arena.overflow ? 0 : sizeof s + s.arena.used;
}

uint64_t sluice_session_forecast_bytes(const sluice_engine *e, const sluice_session_options *options)
{
    return e->has_model ? session_bytes(e, options) : 0;
}

static sluice_status create(sluice_session **out, const sluice_engine *e, sluice_session_options *o, struct failure *f)
{
    if (!e->has_model) return fail(f, SLUICE_ARGUMENT, "%s: opened without a model", e->name);
    sluice_status status = resolve_options(e, o, f);
    if (status) return status;
    if (!e->has_weights) return fail(f, SLUICE_ARGUMENT, "%s: opened without weights", e->name);
    sluice_session *s = memory_alloc(sizeof *s);
    if (!s) return fail(f, SLUICE_MEMORY, "no memory for a session");
    measure(s, e, o);
    uint64_t available = memory_available();
    size_t needed = s->arena.used;
    const bool fits = !s->arena.overflow && (!available || needed <= available);
    if (!fits || !arena_commit(&s->arena, true)) {
        char size[2][SIZE_BYTES];
        size_text(size[0], s->arena.overflow ? UINT64_MAX : needed);
        memory_free(s);
        if (fits)
            return fail(f, SLUICE_MEMORY, "no memory for a session with a context of %d tokens, %s", o->n_context,
                        size[0]);
        return fail(f, SLUICE_MEMORY,
                    "a session with a context of %d tokens needs %s, %s are available: a smaller context needs less",
                    o->n_context, size[0], size_text(size[1], available));
    }
    carve(s, o->surgery && surgery_has_marks(o->surgery), &s->arena);
    if (s->surgery.marks) surgery_mark(&e->model.config, o->surgery, s->surgery.marks, s->ws.n_experts);
    workspace_init(&s->ws, &e->model, s->n_context);
    atomic_init(&s->cancel, false);
    *out = s;
    return SLUICE_OK;
}

sluice_status sluice_session_create(sluice_session **out, const sluice_engine *engine,
                                    const sluice_session_options *options, sluice_error *error)
{
    struct failure f = {0};
    sluice_session_options o = options ? *options : sluice_session_options_default();
    *out = NULL;
    return create(out, engine, &o, &f) ? report_failure(error, &f) : SLUICE_OK;
}

void sluice_session_free(sluice_session **session)
{
    sluice_session *s = *session;
    *session = NULL;
    if (!s) return;
    relay_free(&s->relay);
    trace_free(&s->trace);
    arena_free(&s->arena);
    memory_free(s);
}

/* ---- passes ------------------------------------------------------------------------------------------------------ */

struct pass {
    const struct model *model;
    struct workspace *ws;
    struct chunk chunk;
    struct trace *trace; /* NULL: nobody measures */
};

static void run_forward(struct thread *t, void *context)
{
    struct pass *pass = context;
    if (pass->trace) t->trace = &pass->trace->lanes[t->id];
    team_barrier(t); /* what the caller prepared is visible to all */
    forward(pass->model, pass->ws, &pass->chunk, t);
    trace_layer(t, -1);
    trace_switch(t, TRACE_PASS);
    team_barrier(t); /* what all have written is visible to the caller */
    trace_switch(t, TRACE_PASS);
}

enum pass_kind { PASS_PREFILL, PASS_DECODE, PASS_REPLAY };

static void count_pass(sluice_session *s, int n_rows, bool is_decode, double seconds, double wait_seconds)
{
    sluice_session_stats *stats = &s->stats;
    const struct workspace *ws = &s->ws;
    *(is_decode ? &stats->decode_tokens : &stats->prefill_tokens) += (uint64_t)n_rows;
    *(is_decode ? &stats->decode_seconds : &stats->prefill_seconds) += seconds;
    *(is_decode ? &stats->decode_wait_seconds : &stats->prefill_wait_seconds) += wait_seconds;
    *(is_decode ? &stats->decode_bytes : &stats->prefill_bytes) += ws->bytes_read;
    *(is_decode ? &stats->decode_passes : &stats->prefill_passes) += 1;
    *(is_decode ? &stats->experts_read : &stats->prefill_experts_read) += ws->experts_read;
    for (int i = 0; i < N_PEAKS; i++)
        (is_decode ? stats->decode_operations : stats->prefill_operations)[i] += ws->operations[i];
    if (!is_decode) stats->prefill_expert_rows += ws->expert_rows;
}

/* One pass over the prepared rows with the workspace of `s`. Counts it for `s`. */
static sluice_status run_pass(sluice_session *s, const struct row *rows, int n_rows, enum pass_kind kind)
{
    const bool is_decode = kind == PASS_DECODE;
    struct pass pass = {
        .model = &s->engine->model,
        .ws = &s->ws,
        .trace = s->trace,
        .chunk = {.rows = rows,
                  .n_rows = n_rows,
                  .is_decode = is_decode,
                  .observer = s->relay && kind != PASS_REPLAY ? &s->relay->inner : NULL},
    };
    s->ws.bytes_read = s->ws.experts_read = s->ws.expert_rows = 0;
    memset(s->ws.operations, 0, sizeof s->ws.operations);
    s->ws.cancelled[0] = s->ws.cancelled[1] = false;
    atomic_store(&s->ws.not_finite, false);
    atomic_store(&s->ws.routing_fault.found, false);
    struct trace_pass traced;
    double start = clock_seconds();
    pthread_mutex_lock(&s->engine->team_lock);
    if (s->trace) trace_begin_pass(s->trace, is_decode ? TRACE_DECODE : TRACE_PREFILL, &traced);
    team_run(&s->engine->team, run_forward, &pass);
    if (s->trace) trace_end_pass(s->trace, n_rows, &traced);
    const double wait_seconds = s->engine->team.wait_seconds;
    pthread_mutex_unlock(&s->engine->team_lock);
    double seconds = clock_seconds() - start;

    if (s->ws.cancelled[0] || s->ws.cancelled[1]) {
        for (int i = 0; i < n_rows; i++) atomic_store(rows[i].cancel, false); /* consumed */
        return fail(&s->failure, SLUICE_CANCELLED, "cancelled");
    }
    sluice_status lost = s->engine->archive ? archive_check(s->engine->archive, &s->failure) : SLUICE_OK;
    if (lost) return lost;
    const struct routing_fault *fault = &s->ws.routing_fault;
    if (atomic_load(&fault->found))
        return fail(&s->failure, SLUICE_ARGUMENT, "the given routing of layer %d at position %d: expert %d %s",
                    fault->layer, fault->position, fault->expert, fault->what);
    if (atomic_load(&s->ws.not_finite))
        return fail(&s->failure, SLUICE_NUMERIC,
                    "%s: a logit is not finite in the pass that ends with token %d at position %d", s->engine->name,
                    (int)rows[n_rows - 1].token, rows[n_rows - 1].position);
    count_pass(s, n_rows, is_decode, seconds, wait_seconds);
    return SLUICE_OK;
}

static sluice_status check_append(sluice_session *s, const int32_t *tokens, size_t n)
{
    const int vocab_size = s->engine->model.config.vocab_size;
    if (n == 0) return fail(&s->failure, SLUICE_ARGUMENT, "no tokens to append");
    for (size_t i = 0; i < n; i++)
        if (tokens[i] < 0 || tokens[i] >= vocab_size)
            return fail(&s->failure, SLUICE_ARGUMENT, "token %zu: id %d is outside 0..%d", i, (int)tokens[i],
                        vocab_size - 1);
    if (n > (size_t)(s->n_context - s->cache.length))
        return fail(&s->failure, SLUICE_CONTEXT, "%zu tokens do not fit: %d of %d positions are used", n,
                    s->cache.length, s->n_context);
    return SLUICE_OK;
}

/* ---- states ------------------------------------------------------------------------------------------------------
 *
 * Keys and values are rewound by setting the cache's length; states are not. So the cache says where its states stand,
 * and a rewind leaves them alone, as does a pass that was cancelled or failed. The next append makes them right: if
 * they stand beyond the end of the timeline, or amid an unfinished pass, it restores the last checkpoint that fits, and
 * then runs the tokens from there to the end again, without logits. That work counts as prefill, and no observer sees
 * it. */

/* After a pass: the states are at the end of its rows. A checkpoint keeps the logits too, if there are any: whoever
 * wants another answer to the same prompt comes back to exactly there. */
static void land_states(sluice_session *s, int at, int n_rows, const float *logits)
{
    struct cache *cache = &s->cache;
    cache->states_at = at;
    if (!cache->states || (n_rows == 1 && at % CHECKPOINT_STRIDE != 0)) return;
    cache_checkpoint(cache);
    const int place = cache->checkpoint[cache->n_checkpoints - 1].place;
    s->kept_at[place] = logits ? at : 0;
    if (logits)
        memcpy(s->kept_logits + place * s->ws.ld_vocab, logits,
               (size_t)s->engine->model.config.vocab_size * sizeof *logits);
}

/* Goes back to a checkpoint of the timeline that has its logits, if there is one at `length`. */
static bool restore_logits(sluice_session *s, int length)
{
    struct cache *cache = &s->cache;
    for (int i = 0; i < cache->n_checkpoints; i++) {
        const int place = cache->checkpoint[i].place;
        if (cache->checkpoint[i].at != length || s->kept_at[place] != length) continue;
        cache_restore(cache, length);
        cache->length = length;
        memcpy(s->logits, s->kept_logits + place * s->ws.ld_vocab,
               (size_t)s->engine->model.config.vocab_size * sizeof *s->logits);
        s->has_logits = true;
        return true;
    }
    return false;
}

/* One pass over tokens of one session from position `at` on. */
static sluice_status pass_tokens(sluice_session *s, const int32_t *tokens, int at, int n_rows, float *logits,
                                 enum pass_kind kind)
{
    for (int i = 0; i < n_rows; i++)
        s->rows[i] = (struct row){.cache = &s->cache,
                                  .token = tokens[i],
                                  .position = at + i,
                                  .cancel = &s->cancel,
                                  .surgery = &s->surgery};
    s->rows[n_rows - 1].logits = logits;
    s->cache.states_at = STATES_TORN;
    sluice_status status = run_pass(s, s->rows, n_rows, kind);
    if (!status) land_states(s, at + n_rows, n_rows, logits);
    return status;
}

/* Brings the states to the end of the timeline. *n_kept: tokens that were not computed again. */
static sluice_status catch_up(sluice_session *s, int *n_kept)
{
    struct cache *cache = &s->cache;
    *n_kept = cache->length;
    if (!cache->states) return SLUICE_OK;
    if (cache->states_at == STATES_TORN || cache->states_at > cache->length) cache_restore(cache, cache->length);
    *n_kept = cache->states_at;
    while (cache->states_at < cache->length) {
        const int at = cache->states_at, left = cache->length - at;
        sluice_status status =
            pass_tokens(s, s->tokens + at, at, left < s->n_chunk ? left : s->n_chunk, NULL, PASS_REPLAY);
        if (status) return status;
    }
    return SLUICE_OK;
}

/* ---- appending --------------------------------------------------------------------------------------------------- */

static sluice_status append(sluice_session *s, const int32_t *tokens, size_t n, int *n_kept)
{
    sluice_status status = check_append(s, tokens, n);
    if (status) return status;
    const int before = s->cache.length;
    s->has_logits = false;
    status = catch_up(s, n_kept);
    for (size_t done = 0; done < n && !status;) {
        int n_rows = n - done < (size_t)s->n_chunk ? (int)(n - done) : s->n_chunk;
        bool is_last = done + (size_t)n_rows == n;
        status = pass_tokens(s, tokens + done, s->cache.length, n_rows, is_last ? s->logits : NULL,
                             n_rows == 1 ? PASS_DECODE : PASS_PREFILL);
        if (!status) s->cache.length += n_rows;
        done += (size_t)n_rows;
    }
    if (status) {
        s->cache.length = before;
        return status;
    }
    memcpy(s->tokens + before, tokens, n * sizeof *tokens);
    s->has_logits = true;
    return SLUICE_OK;
}

sluice_status sluice_session_prefill(sluice_session *s, const int32_t *tokens, size_t n)
{
    int n_kept;
    return append(s, tokens, n, &n_kept);
}

sluice_status sluice_session_decode(sluice_session *s, int32_t token) { return sluice_session_prefill(s, &token, 1); }

/* The checks of decode_many; *lead receives the session whose workspace serves all: its tables reach furthest. */
static sluice_status check_many(sluice_session *const *sessions, const int32_t *tokens, size_t n, sluice_session **lead)
{
    *lead = sessions[0];
    for (size_t i = 0; i < n; i++) {
        sluice_session *s = sessions[i];
        sluice_status status = check_append(s, &tokens[i], 1);
        if (status) return status;
        if (s->engine != sessions[0]->engine)
            return fail(&s->failure, SLUICE_ARGUMENT, "session %zu belongs to another engine", i);
        if (n > (size_t)s->n_chunk)
            return fail(&s->failure, SLUICE_ARGUMENT, "%zu sessions in one pass, but chunks of %d tokens", n,
                        s->n_chunk);
        if (s->relay) return fail(&s->failure, SLUICE_ARGUMENT, "session %zu is being observed", i);
        if (s->ws.active_experts != sessions[0]->ws.active_experts || s->ws.dense_twin != sessions[0]->ws.dense_twin)
            return fail(&s->failure, SLUICE_ARGUMENT, "session %zu has other active experts than session 0", i);
        for (size_t j = 0; j < i; j++)
            if (sessions[j] == s) return fail(&s->failure, SLUICE_ARGUMENT, "sessions %zu and %zu are one", j, i);
        if (s->n_context > (*lead)->n_context) *lead = s;
    }
    return SLUICE_OK;
}

/* Hands the failure of one session to all, so that each can tell. */
static sluice_status fail_all(sluice_session *const *sessions, size_t n, const sluice_session *failed,
                              sluice_status status)
{
    for (size_t i = 0; i < n; i++)
        if (sessions[i] != failed) sessions[i]->failure = failed->failure;
    return status;
}

sluice_status sluice_decode_many(sluice_session *const *sessions, const int32_t *tokens, size_t n)
{
    sluice_session *lead;
    if (n == 0) return SLUICE_ARGUMENT;
    sluice_status status = check_many(sessions, tokens, n, &lead);
    if (status) return status;
    for (size_t i = 0; i < n; i++) {
        int n_kept;
        status = catch_up(sessions[i], &n_kept);
        if (status) return fail_all(sessions, n, sessions[i], status);
    }
    for (size_t i = 0; i < n; i++) {
        sluice_session *s = sessions[i];
        s->has_logits = false;
        s->cache.states_at = STATES_TORN;
        lead->rows[i] = (struct row){.cache = &s->cache,
                                     .token = tokens[i],
                                     .position = s->cache.length,
                                     .cancel = &s->cancel,
                                     .logits = s->logits,
                                     .surgery = &s->surgery};
    }
    status = run_pass(lead, lead->rows, (int)n, PASS_DECODE);
    if (status) return fail_all(sessions, n, lead, status);
    for (size_t i = 0; i < n; i++) {
        sluice_session *s = sessions[i];
        s->tokens[s->cache.length++] = tokens[i];
        s->has_logits = true;
        land_states(s, s->cache.length, 1, s->logits);
    }
    return SLUICE_OK;
}

sluice_status sluice_session_rewind(sluice_session *s, size_t n_keep)
{
    if (n_keep > (size_t)s->cache.length)
        return fail(&s->failure, SLUICE_ARGUMENT, "rewind to %zu tokens, but there are %d", n_keep, s->cache.length);
    s->cache.length = (int)n_keep;
    s->has_logits = false;
    return SLUICE_OK;
}

sluice_status sluice_session_sync(sluice_session *s, const int32_t *tokens, size_t n, size_t *n_reused)
{
    const int before = s->cache.length;
    size_t same = 0;
    if (n_reused) *n_reused = 0;
    while (same < n && same < (size_t)before && tokens[same] == s->tokens[same]) same++;
    if (same == n && n > 0 && restore_logits(s, (int)n)) {
        if (n_reused) *n_reused = n;
        return SLUICE_OK;
    }
    if (same == n && n > 0) same = n - 1; /* its logits are wanted */
    const bool had_logits = s->has_logits;
    s->cache.length = (int)same;
    int n_kept = 0;
    sluice_status status = append(s, tokens + same, n - same, &n_kept);
    if (status) { /* keys beyond `same` may be overwritten: keep only what is certain */
        bool untouched = status == SLUICE_ARGUMENT || status == SLUICE_CONTEXT;
        s->cache.length = untouched ? before : (int)same;
        s->has_logits = untouched && had_logits;
    } else if (n_reused) {
        *n_reused = (size_t)n_kept;
    }
    return status;
}

sluice_status sluice_session_copy(sluice_session *to, const sluice_session *from)
{
    if (to == from) return SLUICE_OK;
    if (to->engine != from->engine)
        return fail(&to->failure, SLUICE_ARGUMENT, "a session of another engine cannot be copied");
    if (to->cache_type != from->cache_type)
        return fail(&to->failure, SLUICE_ARGUMENT, "a session with another type of cache cannot be copied");
    if (from->cache.length > to->n_context)
        return fail(&to->failure, SLUICE_CONTEXT, "a timeline of %d tokens does not fit: the context is %d",
                    from->cache.length, to->n_context);
    cache_copy(&to->cache, &from->cache);
    if (from->kept_logits) {
        memcpy(to->kept_at, from->kept_at, sizeof to->kept_at);
        memcpy(to->kept_logits, from->kept_logits, CACHE_CHECKPOINTS * (size_t)to->ws.ld_vocab * sizeof(float));
    }
    memcpy(to->tokens, from->tokens, (size_t)from->cache.length * sizeof *to->tokens);
    to->has_logits = from->has_logits;
    if (from->has_logits)
        memcpy(to->logits, from->logits, (size_t)to->engine->model.config.vocab_size * sizeof *to->logits);
    return SLUICE_OK;
}

/* ---- questions --------------------------------------------------------------------------------------------------- */

const float *sluice_session_logits(const sluice_session *s) { return s->has_logits ? s->logits : NULL; }
size_t sluice_session_length(const sluice_session *s) { return (size_t)s->cache.length; }
size_t sluice_session_context(const sluice_session *s) { return (size_t)s->n_context; }
const int32_t *sluice_session_tokens(const sluice_session *s) { return s->tokens; }
const char *sluice_session_error(const sluice_session *s) { return s->failure.text; }
void sluice_session_cancel(sluice_session *s) { atomic_store(&s->cancel, true); }

void sluice_session_get_stats(const sluice_session *s, sluice_session_stats *out)
{
    const struct model_config *c = &s->engine->model.config;
    *out = s->stats;
    for (int i = 0; i < c->n_layers * s->ws.n_experts; i++) out->experts_touched += s->ws.touched[i];
    for (int l = 0; l < c->n_layers; l++)
        if (ffn_has_experts(&c->layers[l].ffn)) out->experts_total += (uint64_t)c->layers[l].router.n_experts;
}

void sluice_session_reset_stats(sluice_session *s)
{
    s->stats = (sluice_session_stats){0};
    memset(s->ws.touched, 0, (size_t)s->engine->model.config.n_layers * (size_t)s->ws.n_experts);
}

size_t sluice_session_bytes(const sluice_session *s)
{
    return sizeof *s + s->arena.capacity + (s->trace ? s->trace->arena.capacity : 0);
}
