/* The keys of a GGUF file from a struct model_config: what llama.cpp needs to open the file, and under "sluice." what
 * those keys cannot say, so that config_read of the file gives an equal configuration. */
#ifndef MODEL_CONFIG_EXPORT_H
#define MODEL_CONFIG_EXPORT_H

#include "model/config.h"

struct gguf_writer;

/* Puts general.architecture, the keys of the architecture, sampling defaults, and the ids of the first and the end
 * tokens. The rest of the vocabulary, general.name and general.file_type are the caller's. Before gguf_begin_data,
 * which reports failures. Biases and tied embeddings are said by the presence of tensors. */
void config_export(const struct model_config *c, const struct generation_config *g, struct gguf_writer *w);

/* What of this model llama.cpp will refuse, and what it will read past so that its results differ: two lists of words,
 * empty when all is well. */
struct config_peer_limits {
    char refused[128], ignored[128];
};
struct config_peer_limits config_peer_limits(const struct model_config *c);

/* True: the file needs a tensor rope_freqs.weight, F32 [n_rot / 2], and `divisors` has its values. (A model that
 * was read from a GGUF file with such a tensor and is not bound has no values: its tensor is copied.) */
bool config_rope_divisors(const struct model_config *c, float *divisors);

#endif
