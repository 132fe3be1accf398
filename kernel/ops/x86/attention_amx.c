/* Attention on the tile registers of AMX. */
#define ATTENTION_NAME ops_attention_amx
#include "ops/x86/attention_amx_tmpl.h"
