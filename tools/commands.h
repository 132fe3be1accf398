/* The commands of the program, one per file cmd_<name>.c; sluice.c lists them. */
#ifndef TOOLS_COMMANDS_H
#define TOOLS_COMMANDS_H

#include "args.h"

extern const struct command command_run, command_inspect, command_tokenize, command_logits, command_verify,
    command_quantize, command_bench, command_profile, command_trace, command_stats;

/* clang-format off */
/* Rows of the tables of options that mean the same in every command. S is the command's struct of values. */
#define OPTION_ROW_MODEL(S)                                                                     \
    {.name = "model", .letter = 'm', .kind = OPTION_TEXT, .operand = true, .required = true,    \
     .offset = offsetof(S, model), .value_name = "MODEL",                                       \
     .help = "a GGUF file, or a folder with config.json, *.safetensors, tokenizer.json"}
#define OPTION_ROW_LOAD_AS(S)                                                                   \
    {.name = "load-as", .kind = OPTION_TEXT, .offset = offsetof(S, load.load_as),               \
     .value_name = "TYPE", .help = "round the matrices to this type while loading, so that a large model fits: "      \
     "f16, bf16, q8_0, q6_k, q5_k, q5_1, q5_0, q4_k, q4_1, q4_0, iq4_nl, iq4_xs, mxfp4, q3_k, q2_k; embedding and "   \
     "head become q6_k at least"}
#define OPTION_ROW_PROMPT(S)                                                                    \
    {.name = "prompt", .letter = 'p', .kind = OPTION_TEXT, .offset = offsetof(S, prompt),       \
     .value_name = "TEXT", .help = "the text"}
#define OPTION_ROW_FILE(S)                                                                      \
    {.name = "file", .letter = 'f', .kind = OPTION_TEXT, .offset = offsetof(S, file),           \
     .value_name = "FILE", .help = "the text is the whole content of FILE; -: of standard input"}
#define OPTION_ROW_THREADS(S, FIELD_OF_S)                                                       \
    {.name = "threads", .letter = 't', .kind = OPTION_INTEGER, .offset = offsetof(S, FIELD_OF_S), \
     .value_name = "N", .low = 1, .high = LOAD_MAX_THREADS,                                     \
     .help = "threads; without it one per CPU that the process may use"}
#define OPTION_ROW_CHUNK(S)                                                                     \
    {.name = "chunk", .kind = OPTION_INTEGER, .offset = offsetof(S, chunk), .value_name = "N",  \
     .low = 1, .high = LOAD_MAX_CHUNK, .initial = "2048",                                       \
     .help = "most tokens of the prompt in one pass; without --exact the cut may change how logits round"}
#define OPTION_ROW_EXACT(S)                                                                     \
    {.name = "exact", .kind = OPTION_FLAG, .offset = offsetof(S, load.exact),                   \
     .help = "the same bits however the text is cut into passes; slower where the form of a product or of attention " \
     "is otherwise chosen by the number of tokens"}
#define OPTION_ROW_NO_REPACK(S)                                                                 \
    {.name = "no-repack", .kind = OPTION_FLAG, .offset = offsetof(S, load.no_repack),           \
     .help = "read matrices where they lie in the file: opens at once and needs little memory, runs slower"}
#define OPTION_ROW_LOAD(S)                                                                      \
    {.name = "load", .kind = OPTION_TEXT, .offset = offsetof(S, load.access),                   \
     .value_name = "map|read", .initial = "map",                                                \
     .help = "how files are read: mapped, or read into memory, for file systems on which maps are slow or fail"}
#define OPTION_ROW_FLOAT(S, TEXT)                                                               \
    {.name = "float", .kind = OPTION_FLAG, .offset = offsetof(S, load.keep_float), .help = TEXT}
#define FLOAT_HELP                                                                              \
    "activations stay float; otherwise those that meet quantised matrices are rounded to 8 bits, and where the CPU "   \
    "multiplies bfloat16 those that meet such matrices to that, which is faster"
#define OPTION_ROW_CACHE_TYPE(S, INITIAL, TEXT)                                                 \
    {.name = "cache-type", .kind = OPTION_TEXT, .offset = offsetof(S, load.cache_type),         \
     .value_name = "TYPE", .initial = INITIAL, .help = "keys and values are kept as f32, f16, bf16 or q8_0" TEXT}
#define CACHE_TYPE_AS_WEIGHTS "; without it f32 for F32 weights, bf16 for BF16, else f16"
#define OPTION_ROW_SPECIAL(S, TEXT)                                                             \
    {.name = "special", .kind = OPTION_FLAG, .offset = offsetof(S, special), .help = TEXT}
/* Four rows and one flag. */
#define OPTION_ROWS_SURGERY(S)                                                                  \
    {.name = "active-experts", .kind = OPTION_INTEGER, .offset = offsetof(S, load.surgery.active_experts),            \
     .value_name = "N", .low = 1, .high = 65536,                                                \
     .help = "every token chooses N experts per layer instead of the model's number"},          \
    {.name = "ablate", .kind = OPTION_TEXT, .offset = offsetof(S, load.surgery.ablate), .value_name = "L:E,..",       \
     .help = "the router of layer L cannot choose expert E; 3:* and *:5 mean all experts, all layers"},               \
    {.name = "zero", .kind = OPTION_TEXT, .offset = offsetof(S, load.surgery.zero), .value_name = "L:E,..",           \
     .help = "what expert E of layer L contributes is dropped, everything else stays"},         \
    {.name = "force", .kind = OPTION_TEXT, .offset = offsetof(S, load.surgery.force), .value_name = "L:E,..",         \
     .help = "every token chooses expert E of layer L, in the place of its worst choice"},      \
    {.name = "dense-twin", .kind = OPTION_FLAG, .offset = offsetof(S, load.surgery.dense_twin),                       \
     .help = "compute every expert for every token and multiply those that were not chosen by 0"}
#define OPTION_ROW_FREEZE(S)                                                                    \
    {.name = "freeze-routing", .kind = OPTION_TEXT, .offset = offsetof(S, load.surgery.freeze_routing),               \
     .value_name = "TRACE",                                                                     \
     .help = "experts and weights of each position come from this file of `sluice trace`, not from the router"}
#define OPTION_ROW_NO_BOS(S)                                                                    \
    {.name = "no-bos", .kind = OPTION_FLAG, .offset = offsetof(S, no_bos),                      \
     .help = "leave out the tokens that the tokenizer adds at the ends of a text"}
#define OPTION_ROW_JSON(S, TEXT)                                                                \
    {.name = "json", .kind = OPTION_FLAG, .offset = offsetof(S, json), .help = TEXT}
/* clang-format on */

#endif
