/* Owns the figures at the end of a run. */
#include "run_report.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "json.h"
#include "output.h"

/* What the figures of the passes mean per token and second; 0 where there is nothing to divide by. */
struct rates {
    double prefill_per_second, decode_per_second, bytes_per_token, bytes_per_second, experts_per_token;
};

static double quotient(double a, double b) { return b > 0 ? a / b : 0; }

/* Tokens of the prompt that were computed: all of them, unless the run was interrupted. */
static uint64_t prefilled_tokens(const struct run_figures *f)
{
    return f->prefill.prefill_tokens + f->prefill.decode_tokens;
}

/* The shortest number that means this float: 0.7 and not 0.699999988. */
static double short_number(float value)
{
    char text[32];
    snprintf(text, sizeof text, "%.7g", (double)value);
    return strtod(text, NULL);
}

static struct rates compute_rates(const struct run_figures *f)
{
    double prefilled = (double)prefilled_tokens(f);
    double decoded = (double)f->decode.decode_tokens;
    return (struct rates){
        .prefill_per_second = quotient(prefilled, f->prefill_seconds),
        .decode_per_second = quotient(decoded, f->decode.decode_seconds),
        .bytes_per_token = quotient((double)f->decode.decode_bytes, decoded),
        .bytes_per_second = quotient((double)f->decode.decode_bytes, f->decode.decode_seconds),
        .experts_per_token = quotient((double)f->decode.experts_read, decoded),
    };
}

static void print_loading(const struct run_figures *f)
{
    const sluice_model_info *i = &f->info;
    fprintf(stderr, "load     %.2f s, %s/s of %s in the files\n", f->load_seconds,
            human_bytes(quotient((double)i->file_bytes, f->load_seconds)).text,
            human_bytes((double)i->file_bytes).text);
    fprintf(stderr, "memory   %s of weights, %.0f %% of them in 2 MiB pages, %s of session",
            human_bytes((double)i->weight_bytes).text, 100 * f->huge_page_share,
            human_bytes((double)f->session_bytes).text);
    if (i->mapped_bytes) fprintf(stderr, "; %s read in the file", human_bytes((double)i->mapped_bytes).text);
    fputc('\n', stderr);
    fprintf(stderr, "machine  %d threads, %s\n", i->n_threads, i->isa ? i->isa : "");
}

void run_report_print(const struct run_figures *f)
{
    struct rates r = compute_rates(f);
    const sluice_session_stats *d = &f->decode;
    progress_clear();
    if (isatty(STDOUT_FILENO)) fputc('\n', stderr);
    if (f->verbose) print_loading(f);
    fprintf(stderr, "prefill  %6" PRIu64 " tokens  %8.1f tokens/s\n", prefilled_tokens(f), r.prefill_per_second);
    if (d->decode_tokens > 0)
        fprintf(stderr, "decode   %6" PRIu64 " tokens  %8.1f tokens/s  %s touched per token  %.1f GB/s\n",
                d->decode_tokens, r.decode_per_second, human_bytes(r.bytes_per_token).text, r.bytes_per_second / 1e9);
    if (d->decode_tokens > 0 && d->experts_total > 0)
        fprintf(stderr, "experts  %6" PRIu64 " of %" PRIu64 " (layer, expert) pairs touched, %.4g read per token\n",
                d->experts_touched, d->experts_total, r.experts_per_token);
    if (f->kl.n_tokens > 0) {
        char flags[192];
        fprintf(stderr, "KL       %.6f nats per token, KL(native || %s) over %zu tokens of this run\n", f->kl.kl,
                surgery_describe(f->surgery, flags, sizeof flags), f->kl.n_tokens);
    }
    fprintf(stderr, "finish   %s after %zu tokens", f->finish, f->n_generated);
    if (f->greedy)
        fprintf(stderr, ", always the most likely (--temp 0)\n");
    else
        fprintf(stderr, ", seed %" PRIu64 "\n", f->seed);
    if (f->n_generated == 0 && strcmp(f->finish, "eos") == 0)
        fprintf(stderr, "note     the model chose to end at once; %s--ignore-eos goes on\n",
                f->greedy ? "" : "another --seed or ");
    if (f->hashed) fprintf(stderr, "logits   hash %016" PRIx64 "\n", f->logits_hash);
}

json_t *run_report_json(const struct run_figures *f, const sluice_sampling *s)
{
    struct rates r = compute_rates(f);
    char hash[17];
    snprintf(hash, sizeof hash, "%016" PRIx64, f->logits_hash);
    json_t *prefill = json_pack("{s:I, s:f, s:f}", "tokens", (json_int_t)prefilled_tokens(f), "seconds",
                                f->prefill_seconds, "tokens_per_second", r.prefill_per_second);
    json_t *decode = json_pack("{s:I, s:f, s:f, s:f, s:f}", "tokens", (json_int_t)f->decode.decode_tokens, "seconds",
                               f->decode.decode_seconds, "tokens_per_second", r.decode_per_second, "bytes_per_token",
                               r.bytes_per_token, "bytes_per_second", r.bytes_per_second);
    json_t *experts = json_pack("{s:I, s:I, s:f}", "touched", (json_int_t)f->decode.experts_touched, "total",
                                (json_int_t)f->decode.experts_total, "read_per_token", r.experts_per_token);
    json_t *sampling = json_pack("{s:f, s:i, s:f, s:f, s:f}", "temperature", short_number(s->temperature), "top_k",
                                 s->top_k, "top_p", short_number(s->top_p), "min_p", short_number(s->min_p),
                                 "repeat_penalty", short_number(s->repetition_penalty));
    json_t *summary =
        json_pack("{s:o, s:o, s:s, s:i, s:s, s:I, s:I, s:f, s:I, s:o, s:o, s:o, s:o}", "model",
                  json_string_or_null(f->info.path_name), "architecture", json_string_or_null(f->info.architecture),
                  "finish_reason", f->finish, "threads", f->info.n_threads, "isa", f->info.isa ? f->info.isa : "",
                  "seed", (json_int_t)f->seed, "generated_tokens", (json_int_t)f->n_generated, "load_seconds",
                  f->load_seconds, "session_bytes", (json_int_t)f->session_bytes, "sampling", sampling, "prefill",
                  prefill, "decode", decode, "experts", experts);
    if (summary && f->hashed && json_object_set_new(summary, "logits_hash", json_string(hash)) != 0) {
        json_decref(summary);
        summary = NULL;
    }
    if (summary && f->surgery) {
        char flags[192];
        json_t *kl = f->kl.n_tokens ? json_real(f->kl.kl) : json_null();
        json_t *surgery = json_pack("{s:s, s:o, s:I}", "flags", surgery_describe(f->surgery, flags, sizeof flags), "kl",
                                    kl, "kl_tokens", (json_int_t)f->kl.n_tokens);
        if (json_object_set_new(summary, "surgery", surgery) != 0) {
            json_decref(summary);
            summary = NULL;
        }
    }
    return json_pack("{s:o}", "summary", summary);
}
