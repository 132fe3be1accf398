/* The commands of the program, one per file cmd_<name>.c; sluice.c lists them. */
#ifndef TOOLS_COMMANDS_H
#define TOOLS_COMMANDS_H

#include "args.h"

extern const struct command command_run, command_inspect, command_tokenize, command_logits, command_verify,
    command_quantize;

/* clang-format off */
/* Rows of the tables of options that mean the same in every command. S is the command's struct of values. */
#define OPTION_ROW_MODEL(S)                                                                     \
    {.name = "model", .letter = 'm', .kind = OPTION_TEXT, .operand = true, .required = true,    \
     .offset = offsetof(S, model), .value_name = "MODEL",                                       \
     .help = "a GGUF file, or a folder with config.json, *.safetensors, tokenizer.json"}
#define OPTION_ROW_LOAD_AS(S)                                                                   \
    {.name = "load-as", .kind = OPTION_TEXT, .offset = offsetof(S, load_as),                    \
     .value_name = "TYPE", .help = "round the matrices to this type while loading, so that a large model fits: "      \
     "f16, bf16, q8_0, q6_k, q5_k, q5_1, q5_0, q4_k, q4_1, q4_0, iq4_nl, iq4_xs, mxfp4, q3_k, q2_k; embedding and "   \
     "head become q6_k at least"}
#define OPTION_ROW_PROMPT(S)                                                                    \
    {.name = "prompt", .letter = 'p', .kind = OPTION_TEXT, .offset = offsetof(S, prompt),       \
     .value_name = "TEXT", .help = "the text"}
#define OPTION_ROW_FILE(S)                                                                      \
    {.name = "file", .letter = 'f', .kind = OPTION_TEXT, .offset = offsetof(S, file),           \
     .value_name = "FILE", .help = "the text is the whole content of FILE; -: of standard input"}
#define OPTION_ROW_THREADS(S)                                                                   \
    {.name = "threads", .letter = 't', .kind = OPTION_INTEGER, .offset = offsetof(S, threads),  \
     .value_name = "N", .low = 1, .high = LOAD_MAX_THREADS,                                     \
     .help = "threads; without it one per CPU that the process may use"}
#define OPTION_ROW_CHUNK(S)                                                                     \
    {.name = "chunk", .kind = OPTION_INTEGER, .offset = offsetof(S, chunk), .value_name = "N",  \
     .low = 1, .high = LOAD_MAX_CHUNK, .initial = "512",                                        \
     .help = "most tokens of the prompt in one pass; with latent attention or DeltaNet logits round differently"}
#define OPTION_ROW_SPECIAL(S, TEXT)                                                             \
    {.name = "special", .kind = OPTION_FLAG, .offset = offsetof(S, special), .help = TEXT}
#define OPTION_ROW_NO_BOS(S)                                                                    \
    {.name = "no-bos", .kind = OPTION_FLAG, .offset = offsetof(S, no_bos),                      \
     .help = "leave out the tokens that the tokenizer adds at the ends of a text"}
#define OPTION_ROW_JSON(S, TEXT)                                                                \
    {.name = "json", .kind = OPTION_FLAG, .offset = offsetof(S, json), .help = TEXT}
/* clang-format on */

#endif
