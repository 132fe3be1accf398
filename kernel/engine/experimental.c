/* The parts of the interface that are not promised: observers, questions about products, and arrays from .safetensors
 * files. */
#include "sluice/experimental.h"

#include <stdlib.h>
#include <string.h>

#include "base/float16.h"
#include "base/memory.h"
#include "engine/engine_internal.h"
#include "weights/archive.h"

/* ---- observers --------------------------------------------------------------------------------------------------- */

_Static_assert((int)SLUICE_SEE_LOGITS == (int)SEE_LOGITS && (int)SLUICE_SEE_HIDDEN == (int)SEE_HIDDEN,
               "public and internal observations are numbered alike");

static void relay_see(void *context, enum observation what, int layer, int first_position, const void *data,
                      ptrdiff_t ld, int n_rows, int width)
{
    struct observation_relay *relay = context;
    const size_t row = (size_t)width * 4;
    for (int i = 0; i < n_rows; i++)
        memcpy(relay->copy + (size_t)i * row, (const unsigned char *)data + (size_t)i * (size_t)ld * 4, row);
    relay->outer.see(relay->outer.context, (sluice_observation)what, layer, (size_t)first_position, (size_t)n_rows,
                     (size_t)width, relay->copy);
}

void relay_free(struct observation_relay **relay)
{
    if (*relay) memory_free((*relay)->copy);
    memory_free(*relay);
    *relay = NULL;
}

static size_t copy_bytes(const sluice_session *s)
{
    size_t rows = (size_t)s->n_chunk, hidden = rows * (size_t)s->ws.ld_hidden, scores = rows * (size_t)s->ws.ld_experts;
    size_t logits = LOGIT_ROWS * (size_t)s->ws.ld_vocab, most = hidden > scores ? hidden : scores;
    return 4 * (most > logits ? most : logits);
}

sluice_status sluice_session_observe(sluice_session *s, const sluice_observer *observer)
{
    relay_free(&s->relay);
    if (!observer || !observer->wanted) return SLUICE_OK;
    struct observation_relay *relay = memory_calloc(1, sizeof *relay);
    if (relay) relay->copy = memory_alloc(copy_bytes(s));
    if (!relay || !relay->copy) {
        relay_free(&relay);
        return fail(&s->failure, SLUICE_MEMORY, "no memory for an observer");
    }
    relay->inner = (struct observer){.wanted = observer->wanted, .see = relay_see, .context = relay};
    relay->outer = *observer;
    s->relay = relay;
    return SLUICE_OK;
}

/* ---- products ---------------------------------------------------------------------------------------------------- */

_Static_assert((int)SLUICE_PEAK_F32 == (int)PEAK_F32 && (int)SLUICE_PEAK_BF16 == (int)PEAK_BF16 &&
                   (int)SLUICE_PEAK_INT8 == (int)PEAK_INT8,
               "public and internal peaks are numbered alike");

unsigned sluice_engine_get_peaks(const sluice_engine *e) { return e->has_model ? model_peaks(&e->model) : 0; }

bool sluice_engine_get_kernels(const sluice_engine *e, size_t i, char *out, size_t cap)
{
    if (cap) out[0] = 0;
    return e->has_model && i < 1 << 20 && model_describe_kernels(&e->model, (int)i, out, cap);
}

/* ---- arrays ------------------------------------------------------------------------------------------------------ */

struct sluice_arrays {
    struct archive *archive;
};

sluice_status sluice_arrays_open(sluice_arrays **out, const char *path, sluice_error *error)
{
    struct failure f = {0};
    sluice_arrays *arrays = memory_calloc(1, sizeof *arrays);
    *out = NULL;
    if (!arrays) fail(&f, SLUICE_MEMORY, "no memory for %s", path);
    if (!arrays || archive_open(&arrays->archive, path, ARCHIVE_TENSORS, &f)) {
        memory_free(arrays);
        return report_failure(error, &f);
    }
    *out = arrays;
    return SLUICE_OK;
}

void sluice_arrays_close(sluice_arrays **arrays)
{
    if (*arrays) archive_close(&(*arrays)->archive);
    memory_free(*arrays);
    *arrays = NULL;
}

const char *sluice_arrays_metadata(const sluice_arrays *arrays, const char *key)
{
    return archive_tensor_metadata(arrays->archive, key);
}

/* Finds an array and makes room for its elements, 4 bytes each. */
static sluice_status prepare_copy(const sluice_arrays *arrays, const char *name, const struct tensor_view **view,
                                  void **out, size_t *n, size_t *shape, size_t *n_dims, struct failure *f)
{
    const struct tensor_view *v = *view = archive_find(arrays->archive, name);
    *out = NULL;
    if (!v) return fail(f, SLUICE_ARGUMENT, "%s: array \"%s\": missing", archive_name(arrays->archive), name);
    if ((size_t)v->n_dims > *n_dims)
        return fail(f, SLUICE_ARGUMENT, "%s: array \"%s\": %d dimensions, expected at most %zu", v->file, name,
                    v->n_dims, *n_dims);
    *n = v->bytes / dtype_info(v->dtype)->bytes_per_block;
    *n_dims = (size_t)v->n_dims;
    for (int i = 0; i < v->n_dims; i++) shape[i] = v->shape[i];
    *out = malloc(*n ? *n * 4 : 4); /* at most four times the file's bytes; the caller frees it */
    return *out ? SLUICE_OK : fail(f, SLUICE_MEMORY, "%s: array \"%s\": no memory", v->file, name);
}

static float float_at(const struct tensor_view *v, size_t i)
{
    uint16_t half;
    float value;
    if (v->dtype == DTYPE_F32) {
        memcpy(&value, v->data + 4 * i, 4);
        return value;
    }
    memcpy(&half, v->data + 2 * i, 2);
    return v->dtype == DTYPE_BF16 ? bf16_to_float(half) : fp16_to_float(half);
}

sluice_status sluice_arrays_get_float(const sluice_arrays *arrays, const char *name, float **out, size_t *shape,
                                      size_t *n_dims, sluice_error *error)
{
    struct failure f = {0};
    const struct tensor_view *v;
    size_t n;
    if (prepare_copy(arrays, name, &v, (void **)out, &n, shape, n_dims, &f)) return report_failure(error, &f);
    if (!dtype_info(v->dtype)->is_float) {
        free(*out);
        *out = NULL;
        fail(&f, SLUICE_ARGUMENT, "%s: array \"%s\": type %s, expected floats", v->file, name,
             dtype_info(v->dtype)->name);
        return report_failure(error, &f);
    }
    for (size_t i = 0; i < n; i++) (*out)[i] = float_at(v, i);
    if (!archive_check(arrays->archive, &f)) return SLUICE_OK;
    free(*out);
    *out = NULL;
    return report_failure(error, &f);
}

sluice_status sluice_arrays_get_int(const sluice_arrays *arrays, const char *name, int32_t **out, size_t *shape,
                                    size_t *n_dims, sluice_error *error)
{
    struct failure f = {0};
    const struct tensor_view *v;
    size_t n;
    if (prepare_copy(arrays, name, &v, (void **)out, &n, shape, n_dims, &f)) return report_failure(error, &f);
    for (size_t i = 0; i < n && !f.status; i++) {
        int64_t wide;
        if (v->dtype == DTYPE_I32) {
            memcpy(&(*out)[i], v->data + 4 * i, 4);
        } else if (v->dtype == DTYPE_I64) {
            memcpy(&wide, v->data + 8 * i, 8);
            if (wide < INT32_MIN || wide > INT32_MAX)
                fail(&f, SLUICE_FORMAT, "%s: array \"%s\": element %zu is outside 32 bits", v->file, name, i);
            (*out)[i] = (int32_t)wide;
        } else {
            fail(&f, SLUICE_ARGUMENT, "%s: array \"%s\": type %s, expected I32 or I64", v->file, name,
                 dtype_info(v->dtype)->name);
        }
    }
    if (!archive_check(arrays->archive, &f) && !f.status) return SLUICE_OK;
    free(*out);
    *out = NULL;
    return report_failure(error, &f);
}
