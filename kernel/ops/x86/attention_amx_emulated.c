/* The attention of attention_amx.c with tiles in C, for tests on machines without AMX. Never chosen. */
#define TILE_EMULATED
#define ATTENTION_NAME ops_attention_amx_emulated
#include "ops/x86/attention_amx_tmpl.h"
