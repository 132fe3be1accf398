/* The command `verify`: holds what the engine computes against reference values that another implementation left in a
 * .safetensors file, and gives a verdict; or against a second model (verify_models.c). Owns the reference and the
 * comparison with it. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "commands.h"
#include "divergence.h"
#include "json.h"
#include "layer_order.h"
#include "load.h"
#include "output.h"
#include "sluice/experimental.h"
#include "verify_models.h"

struct verify_values {
    const char *model, *other, *reference, *prompt, *file;
    struct load_options load;
    struct option_integer context;
    struct option_real max_kl;
    bool json;
};

/* clang-format off */
static const struct option options[] = {
    OPTION_ROW_MODEL(struct verify_values),
    {.name = "other", .kind = OPTION_TEXT, .operand = true, .offset = offsetof(struct verify_values, other),
     .value_name = "MODEL2", .help = "a second model with the same tokenizer, held against the first over a text"},
    {.name = "reference", .kind = OPTION_TEXT, .offset = offsetof(struct verify_values, reference),
     .value_name = "FILE",
     .help = "safetensors with tokens I32 [n], logits F32 [n or positions, vocabulary] and maybe positions I32, top1 "
             "I32 [n], experts I32 [layers with experts, n, experts per token], router_gap F32 [.., n]"},
    OPTION_ROW_LOAD_AS(struct verify_values),
    OPTION_ROW_PROMPT(struct verify_values),
    OPTION_ROW_FILE(struct verify_values),
    {.name = "context", .letter = 'c', .kind = OPTION_INTEGER, .offset = offsetof(struct verify_values, context),
     .value_name = "N", .low = 2, .high = LOAD_MAX_CONTEXT,
     .help = "the text is cut into windows of N positions that do not see each other; without it 512, within the "
             "models' limits"},
    {.name = "max-kl", .kind = OPTION_REAL, .offset = offsetof(struct verify_values, max_kl), .value_name = "KL",
     .low = 0, .high = 1000, .help = "exit code 2 when the mean divergence of the second model is larger"},
    OPTION_ROW_EXACT(struct verify_values),
    OPTION_ROW_FLOAT(struct verify_values, FLOAT_HELP "; the first of two models always runs so"),
    OPTION_ROW_CACHE_TYPE(struct verify_values, "f32", ""),
    OPTION_ROW_NO_REPACK(struct verify_values),
    OPTION_ROW_LOAD(struct verify_values),
    OPTION_ROWS_SURGERY(struct verify_values),
    OPTION_ROW_THREADS(struct verify_values, load.threads),
    OPTION_ROW_JSON(struct verify_values, "one JSON object"),
};
/* clang-format on */

/* ---- the reference --------------------------------------------------------------------------------------------- */

/* What the file says. Arrays are malloc'ed; optional ones are NULL when absent. */
struct reference {
    const char *path;
    struct input_tokens tokens;
    float *logits;     /* [n_positions, vocab_size] */
    int32_t *row_of;   /* [n]: row of logits of each token, -1: none */
    int32_t *top1;     /* [n] or NULL */
    float *top1_gap;   /* [n] or NULL: best logit minus the second best */
    int32_t *experts;  /* [n_moe_layers, n, top_k] or NULL */
    float *router_gap; /* [n_moe_layers, n] or NULL */
    size_t n_positions, vocab_size, n_moe_layers, top_k;
};

/* The dimensions that an array must have; -1 leaves one open, and `found` receives it. */
struct expected_shape {
    size_t n_dims;
    int64_t dims[3];
    size_t found[3];
};

static sluice_status check_shape(struct expected_shape *e, const char *path, const char *name, const size_t *shape,
                                 size_t n_dims, sluice_error *error)
{
    bool fits = n_dims == e->n_dims;
    char text[256] = "";
    size_t used = 0;
    for (size_t i = 0; i < e->n_dims; i++) {
        if (fits && e->dims[i] >= 0 && (size_t)e->dims[i] != shape[i]) fits = false;
        if (e->dims[i] < 0)
            used += (size_t)snprintf(text + used, sizeof text - used, "%s*", i ? "," : "");
        else
            used += (size_t)snprintf(text + used, sizeof text - used, "%s%lld", i ? "," : "", (long long)e->dims[i]);
    }
    for (size_t i = 0; fits && i < n_dims; i++) e->found[i] = shape[i];
    if (fits) return SLUICE_OK;
    used += (size_t)snprintf(text + used, sizeof text - used, "], found [");
    for (size_t i = 0; i < n_dims && i < 4; i++)
        used += (size_t)snprintf(text + used, sizeof text - used, "%s%zu", i ? "," : "", shape[i]);
    return set_error(error, SLUICE_FORMAT, "%s: %s: expected shape [%s]", path, name, text);
}

enum array_kind { ARRAY_INT, ARRAY_FLOAT };

static sluice_status get_array(const sluice_arrays *arrays, enum array_kind kind, const char *name, void **out,
                               size_t *shape, size_t *n_dims, sluice_error *error)
{
    int32_t *ints = NULL;
    float *floats = NULL;
    sluice_status status = kind == ARRAY_INT ? sluice_arrays_get_int(arrays, name, &ints, shape, n_dims, error)
                                             : sluice_arrays_get_float(arrays, name, &floats, shape, n_dims, error);
    *out = kind == ARRAY_INT ? (void *)ints : (void *)floats;
    return status;
}

/* Reads one array and checks its shape. An optional one that is absent gives NULL; one of the wrong kind is an error
 * in both cases. */
static sluice_status read_array(const sluice_arrays *arrays, const char *path, enum array_kind kind, const char *name,
                                bool optional, struct expected_shape *e, void **out, sluice_error *error)
{
    size_t shape[8], n_dims = 8;
    sluice_status status = get_array(arrays, kind, name, out, shape, &n_dims, error);
    if (status == SLUICE_ARGUMENT) {
        sluice_error other;
        void *array;
        n_dims = 8;
        if (get_array(arrays, kind == ARRAY_INT ? ARRAY_FLOAT : ARRAY_INT, name, &array, shape, &n_dims, &other) == 0) {
            free(array);
            return set_error(error, SLUICE_FORMAT, "%s: %s: expected %s", path, name,
                             kind == ARRAY_INT ? "integers" : "floating point numbers");
        }
        if (optional) return SLUICE_OK;
        return set_error(error, SLUICE_FORMAT, "%s: the array %s is missing", path, name);
    }
    if (status) return status;
    status = check_shape(e, path, name, shape, n_dims, error);
    if (status) {
        free(*out);
        *out = NULL;
    }
    return status;
}

/* Reads `positions` and turns it round: which row of logits belongs to each token. */
static sluice_status read_positions(struct reference *r, const sluice_arrays *arrays, sluice_error *error)
{
    void *positions = NULL;
    struct expected_shape shape = {1, {(int64_t)r->n_positions}, {0}};
    sluice_status status = read_array(arrays, r->path, ARRAY_INT, "positions", true, &shape, &positions, error);
    if (status) return status;
    const int32_t *position = positions;
    r->row_of = malloc(r->tokens.count * sizeof *r->row_of);
    if (!r->row_of) status = set_error(error, SLUICE_MEMORY, "%s: not enough memory", r->path);
    if (!status && !positions && r->n_positions != r->tokens.count)
        status = set_error(error, SLUICE_FORMAT, "%s: logits of %zu of %zu tokens, and positions is missing", r->path,
                           r->n_positions, r->tokens.count);
    for (size_t i = 0; !status && i < r->tokens.count; i++) r->row_of[i] = positions ? -1 : (int32_t)i;
    for (size_t i = 0; !status && positions && i < r->n_positions; i++) {
        if (position[i] < 0 || (size_t)position[i] >= r->tokens.count || r->row_of[position[i]] >= 0)
            status = set_error(error, SLUICE_FORMAT, "%s: positions: %d is twice there or not in 0..%zu", r->path,
                               position[i], r->tokens.count - 1);
        else
            r->row_of[position[i]] = (int32_t)i;
    }
    free(positions);
    return status;
}

static sluice_status read_arrays(struct reference *r, const sluice_arrays *arrays, sluice_error *error)
{
    struct expected_shape list = {1, {-1}, {0}}, matrix = {2, {-1, -1}, {0}};
    void *tokens = NULL, *logits = NULL, *top1 = NULL, *experts = NULL, *gap = NULL, *top1_gap = NULL;
    sluice_status status = read_array(arrays, r->path, ARRAY_INT, "tokens", false, &list, &tokens, error);
    r->tokens = (struct input_tokens){tokens, list.found[0]};
    if (!status && r->tokens.count == 0) status = set_error(error, SLUICE_FORMAT, "%s: tokens: empty", r->path);
    if (!status) status = read_array(arrays, r->path, ARRAY_FLOAT, "logits", false, &matrix, &logits, error);
    r->logits = logits;
    r->n_positions = matrix.found[0];
    r->vocab_size = matrix.found[1];
    if (!status && (r->n_positions == 0 || r->vocab_size == 0))
        status = set_error(error, SLUICE_FORMAT, "%s: logits: empty", r->path);
    for (size_t i = 0; !status && i < r->n_positions * r->vocab_size; i++)
        if (!isfinite(r->logits[i])) status = set_error(error, SLUICE_FORMAT, "%s: logits: not finite", r->path);
    if (!status) status = read_positions(r, arrays, error);

    int64_t n = (int64_t)r->tokens.count;
    struct expected_shape per_token = {1, {n}, {0}}, choices = {3, {-1, n, -1}, {0}};
    if (!status) status = read_array(arrays, r->path, ARRAY_INT, "top1", true, &per_token, &top1, error);
    r->top1 = top1;
    for (size_t i = 0; !status && r->top1 && i < r->tokens.count; i++)
        if (r->top1[i] < 0 || (size_t)r->top1[i] >= r->vocab_size)
            status = set_error(error, SLUICE_FORMAT, "%s: top1: found id %d, expected 0..%zu", r->path, (int)r->top1[i],
                               r->vocab_size - 1);
    if (!status) status = read_array(arrays, r->path, ARRAY_FLOAT, "top1_gap", true, &per_token, &top1_gap, error);
    r->top1_gap = top1_gap;
    if (!status) status = read_array(arrays, r->path, ARRAY_INT, "experts", true, &choices, &experts, error);
    r->experts = experts;
    r->n_moe_layers = choices.found[0];
    r->top_k = choices.found[2];
    struct expected_shape gaps = {2, {(int64_t)r->n_moe_layers, n}, {0}};
    if (!status && r->experts)
        status = read_array(arrays, r->path, ARRAY_FLOAT, "router_gap", true, &gaps, &gap, error);
    r->router_gap = gap;
    return status;
}

static void free_reference(struct reference *r)
{
    input_free_tokens(&r->tokens);
    free(r->logits);
    free(r->row_of);
    free(r->top1);
    free(r->top1_gap);
    free(r->experts);
    free(r->router_gap);
}

static sluice_status read_reference(struct reference *r, const char *path, sluice_error *error)
{
    sluice_arrays *arrays = NULL;
    *r = (struct reference){.path = path};
    sluice_status status = sluice_arrays_open(&arrays, path, error);
    if (!status) status = read_arrays(r, arrays, error);
    sluice_arrays_close(&arrays);
    return status;
}

/* The reference must be of a model with these dimensions. */
static sluice_status check_model(const struct reference *r, const sluice_model_info *info, sluice_error *error)
{
    if (r->vocab_size != (size_t)info->vocab_size)
        return set_error(error, SLUICE_FORMAT, "%s: logits of %zu tokens, the model's vocabulary has %d", r->path,
                         r->vocab_size, info->vocab_size);
    for (size_t i = 0; i < r->tokens.count; i++)
        if (r->tokens.ids[i] < 0 || r->tokens.ids[i] >= info->vocab_size)
            return set_error(error, SLUICE_FORMAT, "%s: tokens: %d is outside the vocabulary 0..%d", r->path,
                             r->tokens.ids[i], info->vocab_size - 1);
    if (r->tokens.count > (size_t)info->n_context)
        return set_error(error, SLUICE_CONTEXT, "%s: %zu tokens, this model has at most %d positions", r->path,
                         r->tokens.count, info->n_context);
    if (r->experts && (r->n_moe_layers != (size_t)info->n_moe_layers || r->top_k != (size_t)info->top_k))
        return set_error(error, SLUICE_FORMAT,
                         "%s: experts: %zu layers with %zu experts per token, the model has %d with %d", r->path,
                         r->n_moe_layers, r->top_k, info->n_moe_layers, info->top_k);
    return SLUICE_OK;
}

/* ---- the comparison -------------------------------------------------------------------------------------------- */

/* How far two correct implementations may be apart. */
struct limits {
    const char *why;
    double nmse, max_abs; /* max_abs infinite: none */
    /* Decisions that are nearly ties may differ: of the router, where the k-th score is ahead of the next one by less
     * than this share of the best score, and of the best token, where two logits are closer than this. */
    double near_tie_share, top1_near_tie;
};

/* By what the model's products do with their inputs. In float, weights that are stored in 16 bits are products of
 * rounding themselves, and only the sum of the errors says something about them. */
static struct limits choose_limits(const sluice_engine *engine, const sluice_model_info *info)
{
    unsigned peaks = sluice_engine_get_peaks(engine);
    if (peaks & 1u << SLUICE_PEAK_INT8)
        return (struct limits){"activations are rounded to 8 bits, see --float", 1e-2, INFINITY, 0.1, 0.5};
    if (peaks & 1u << SLUICE_PEAK_BF16)
        return (struct limits){"activations are rounded to 16 bits, see --float", 1e-3, INFINITY, 0.03, 0.2};
    if (info->weight_dtype && strcmp(info->weight_dtype, "F32") == 0)
        return (struct limits){"float32", 1e-10, 1e-4, 1e-5, 1e-3};
    return (struct limits){"activations are float", 1e-8, INFINITY, 1e-5, 1e-3};
}

struct comparison {
    const struct reference *reference;
    struct limits limits;
    struct layer_order routers;
    double error_squares, reference_squares, max_abs, sum_kl, max_kl;
    size_t n_kl, n_top1, n_top1_equal, n_top1_real;         /* real: not equal, and the best two were not close */
    size_t n_choices, n_choices_equal, n_near_ties, n_real; /* (layer, token) pairs; differing ones are near or real */
    bool *differs, *near_tie; /* [n_moe_layers, n]: another set was chosen; the decision was close. NULL: no experts */
};

static void compare_logits(struct comparison *c, size_t position, const float *mine)
{
    const struct reference *r = c->reference;
    int32_t row = r->row_of[position];
    const float *theirs = row >= 0 ? r->logits + (size_t)row * r->vocab_size : NULL;
    if (theirs || r->top1) {
        size_t top = r->top1 ? (size_t)r->top1[position] : argmax(theirs, r->vocab_size);
        size_t found = argmax(mine, r->vocab_size);
        double gap = r->top1_gap ? r->top1_gap[position] : theirs ? theirs[top] - theirs[found] : INFINITY;
        c->n_top1++;
        c->n_top1_equal += found == top;
        c->n_top1_real += found != top && gap >= c->limits.top1_near_tie;
    }
    if (!theirs) return;
    for (size_t i = 0; i < r->vocab_size; i++) {
        double difference = (double)mine[i] - theirs[i];
        c->error_squares += difference * difference;
        c->reference_squares += (double)theirs[i] * theirs[i];
        c->max_abs = fmax(c->max_abs, fabs(difference));
    }
    double kl = divergence(theirs, mine, r->vocab_size);
    c->n_kl++;
    c->sum_kl += kl;
    c->max_kl = fmax(c->max_kl, kl);
}

static int by_value(const void *a, const void *b)
{
    int32_t x = *(const int32_t *)a, y = *(const int32_t *)b;
    return (x > y) - (x < y);
}

/* `index` counts (layer, token) pairs as the arrays of the reference do. */
static void compare_experts(struct comparison *c, size_t index, const int32_t *mine)
{
    const struct reference *r = c->reference;
    int32_t *theirs = r->experts + index * r->top_k;
    qsort(theirs, r->top_k, sizeof *theirs, by_value);
    c->n_choices++;
    c->differs[index] = memcmp(mine, theirs, r->top_k * sizeof *mine) != 0;
    c->n_choices_equal += !c->differs[index];
}

/* How far the last chosen score is ahead of the best one that is not chosen: goes down the ranks one by one. */
static double score_gap(const float *scores, size_t n, size_t top_k)
{
    double above = INFINITY, last = 0;
    size_t above_index = 0;
    for (size_t rank = 0; rank <= top_k; rank++) {
        size_t best = n;
        for (size_t i = 0; i < n; i++) {
            bool below = scores[i] < above || (scores[i] == above && i > above_index);
            if (below && (best == n || scores[i] > scores[best])) best = i;
        }
        if (best == n) return last; /* every expert is chosen */
        if (rank == top_k) return last - scores[best];
        last = above = scores[best];
        above_index = best;
    }
    return 0;
}

static void note_scores(struct comparison *c, size_t index, const float *scores, size_t n_experts)
{
    const struct reference *r = c->reference;
    double gap = r->router_gap ? r->router_gap[index] : score_gap(scores, n_experts, r->top_k);
    c->near_tie[index] = gap < c->limits.near_tie_share * scores[argmax(scores, n_experts)];
}

/* The observer. */
static void see(void *context, sluice_observation what, int layer, size_t first_position, size_t n_rows, size_t width,
                const void *data)
{
    struct comparison *c = context;
    size_t index = first_position;
    if (what != SLUICE_SEE_LOGITS) {
        size_t order = (size_t)layer_order_of(&c->routers, layer);
        if (order >= c->reference->n_moe_layers) return;
        index += order * c->reference->tokens.count;
    }
    for (size_t i = 0; i < n_rows; i++, index++) {
        if (what == SLUICE_SEE_LOGITS)
            compare_logits(c, index, (const float *)data + i * width);
        else if (what == SLUICE_SEE_EXPERTS)
            compare_experts(c, index, (const int32_t *)data + i * width);
        else
            note_scores(c, index, (const float *)data + i * width, width);
    }
}

static sluice_status compare(struct comparison *c, sluice_session *session, sluice_error *error)
{
    const struct reference *r = c->reference;
    sluice_observer observer = {.wanted = 1u << SLUICE_SEE_LOGITS, .see = see, .context = c};
    size_t n_pairs = r->experts ? r->n_moe_layers * r->tokens.count : 0;
    if (r->experts) {
        observer.wanted |= 1u << SLUICE_SEE_EXPERTS | 1u << SLUICE_SEE_ROUTER_SCORES;
        c->differs = calloc(n_pairs + 1, sizeof *c->differs);
        c->near_tie = calloc(n_pairs + 1, sizeof *c->near_tie);
        if (!c->differs || !c->near_tie) return set_error(error, SLUICE_MEMORY, "not enough memory to compare");
    }
    sluice_status status = sluice_session_observe(session, &observer);
    if (status) return set_error(error, status, "%s", sluice_session_error(session));
    status = load_prompt(session, &r->tokens, LOAD_CHUNK, error);
    for (size_t i = 0; i < n_pairs; i++) {
        c->n_near_ties += c->differs[i] && c->near_tie[i];
        c->n_real += c->differs[i] && !c->near_tie[i];
    }
    return status;
}

/* ---- the verdict ----------------------------------------------------------------------------------------------- */

struct verdict {
    struct limits limits;
    double nmse;
    bool agrees;
};

static struct verdict judge(const struct comparison *c)
{
    struct verdict v = {.limits = c->limits};
    v.nmse = c->error_squares / fmax(c->reference_squares, 1e-30);
    v.agrees = v.nmse <= v.limits.nmse && c->max_abs <= v.limits.max_abs && c->n_real == 0 && c->n_top1_real == 0;
    return v;
}

static void print_verdict(const struct comparison *c, const struct verdict *v)
{
    const struct reference *r = c->reference;
    printf("reference  %zu tokens, logits of %zu\n", r->tokens.count, r->n_positions);
    printf("NMSE       %.3g (limit %.0e: %s)\n", v->nmse, v->limits.nmse, v->limits.why);
    printf("max abs    %.3g", c->max_abs);
    if (isfinite(v->limits.max_abs)) printf(" (limit %.0e)", v->limits.max_abs);
    printf("\nKL         mean %.3g, max %.3g\n", c->sum_kl / (double)c->n_kl, c->max_kl);
    printf("top-1      %zu of %zu tokens agree; differences: %zu near-ties, %zu real\n", c->n_top1_equal, c->n_top1,
           c->n_top1 - c->n_top1_equal - c->n_top1_real, c->n_top1_real);
    if (r->experts)
        printf("router     %zu of %zu (layer, token) choices agree; differences: %zu near-ties, %zu real\n",
               c->n_choices_equal, c->n_choices, c->n_near_ties, c->n_real);
    printf("%s\n", v->agrees ? "agrees" : "DIFFERS");
}

static json_t *describe_verdict(const struct comparison *c, const struct verdict *v)
{
    const struct reference *r = c->reference;
    json_t *router = json_null(), *max_abs_limit = json_null();
    if (isfinite(v->limits.max_abs)) max_abs_limit = json_real(v->limits.max_abs);
    if (r->experts)
        router = json_pack("{s:I, s:I, s:I, s:I}", "choices", (json_int_t)c->n_choices, "equal",
                           (json_int_t)c->n_choices_equal, "near_ties", (json_int_t)c->n_near_ties, "real_differences",
                           (json_int_t)c->n_real);
    return json_pack("{s:I, s:I, s:f, s:f, s:f, s:o, s:f, s:f, s:I, s:I, s:o, s:b}", "tokens",
                     (json_int_t)r->tokens.count, "positions", (json_int_t)r->n_positions, "nmse", v->nmse,
                     "nmse_limit", v->limits.nmse, "max_abs", c->max_abs, "max_abs_limit", max_abs_limit, "mean_kl",
                     c->sum_kl / (double)c->n_kl, "max_kl", c->max_kl, "top1_tokens", (json_int_t)c->n_top1,
                     "top1_equal", (json_int_t)c->n_top1_equal, "router", router, "agrees", (int)v->agrees);
}

/* ---- the command ----------------------------------------------------------------------------------------------- */

static sluice_status run_comparison(const struct verify_values *v, const struct reference *reference,
                                    const sluice_engine *engine, sluice_error *error)
{
    sluice_model_info info;
    sluice_session *session = NULL;
    struct comparison c = {.reference = reference};
    sluice_engine_get_info(engine, &info);
    info.top_k = surgery_top_k(&v->load.surgery, info.top_k);
    c.limits = choose_limits(engine, &info);
    sluice_status status = check_model(reference, &info, error);
    if (!status) status = load_session(&session, engine, &v->load, reference->tokens.count, LOAD_CHUNK, error);
    if (!status) status = compare(&c, session, error);
    load_free_session(&session);
    if (!status) {
        struct verdict verdict = judge(&c);
        if (v->json)
            status = json_print_line(describe_verdict(&c, &verdict), error);
        else
            print_verdict(&c, &verdict);
        if (!status) status = output_flush(error);
        if (!status && !verdict.agrees) status = set_error(error, SLUICE_FORMAT, "%s", ""); /* the verdict says it */
    }
    free(c.differs);
    free(c.near_tie);
    return status;
}

static sluice_status verify_reference(const struct verify_values *v, sluice_error *error)
{
    struct reference reference;
    sluice_engine *engine = NULL;
    sluice_status status = read_reference(&reference, v->reference, error);
    const sluice_session_options session = {
        .n_context = (int)reference.tokens.count, .n_chunk = LOAD_CHUNK, .cache_type = v->load.cache_type};
    struct load_options load = v->load;
    load.session = &session;
    if (!status) status = load_engine(&engine, v->model, &load, 0, error);
    if (!status) status = run_comparison(v, &reference, engine, error);
    sluice_engine_close(&engine);
    free_reference(&reference);
    return status;
}

static sluice_status verify(const void *values, sluice_error *error)
{
    const struct verify_values *v = values;
    const bool changed = v->load.load_as || surgery_is_asked(&v->load.surgery);
    const char *other = v->other ? v->other : v->reference || !changed ? NULL : v->model;
    if (!other == !v->reference)
        return set_error(error, SLUICE_ARGUMENT, "name either a second model or --reference FILE");
    if (!other && (v->prompt || v->file))
        return set_error(error, SLUICE_ARGUMENT, "-p and -f are for two models: the reference has its own tokens");
    if (v->reference) return verify_reference(v, error);
    return verify_models(&(struct verify_models_request){.a = v->model,
                                                         .b = other,
                                                         .one_engine = other == v->model && !v->load.load_as,
                                                         .prompt = v->prompt,
                                                         .file = v->file,
                                                         .load = v->load,
                                                         .n_window = v->context.given ? (int)v->context.value : 0,
                                                         .max_kl = v->max_kl.given ? v->max_kl.value : -1,
                                                         .json = v->json},
                         error);
}

const struct command command_verify = {
    .name = "verify",
    .summary = "compare a model with reference values of another implementation, or with a second model",
    .usage = "MODEL (--reference FILE | MODEL2 (-p TEXT | -f FILE) [-c N] [--max-kl KL]) [-t N] [--json]",
    .details = "With --reference: prints how far the logits and the choices of experts are from the reference, and "
               "\"agrees\" or \"DIFFERS\". Limits of the normalised mean squared error (NMSE): with --float 1e-8, or "
               "1e-10 and a largest difference of 1e-4 if the weights are float32; without it 1e-3 where activations "
               "are rounded to 16 bits and 1e-2 where they are rounded to 8 bits. Exit code 2 when it differs. With a "
               "second model: prints the divergence KL(MODEL||MODEL2) in nats, how often the most likely tokens agree, "
               "the perplexity of both, and the share of (token, layer) pairs whose sets of experts differ. Both "
               "models are in memory at once. MODEL is the truth: its activations always stay float, those of MODEL2 "
               "only with --float; --load-as rounds MODEL2 only, and without MODEL2 the model is compared with itself "
               "rounded so. Options on experts hold for MODEL2, or without it for the second of two sessions of MODEL, "
               "which are alike in everything else. Keys and values stay float unless --cache-type says otherwise.",
    .options = options,
    .n_options = sizeof options / sizeof *options,
    .values_bytes = sizeof(struct verify_values),
    .run = verify,
};
