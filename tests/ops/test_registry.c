/* The registry: names, sizes, and the choices of layout and kernel. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cpu.h"
#include "base/float16.h"
#include "ops/ops.h"
#include "ops/panel.h"
#include "quant/codec.h"
#include "tests/ops/ops_cases.h"
#include "tests/support/compare.h"
#include "tests/support/guarded_buffer.h"
#include "tests/support/rng.h"

static const uint64_t every_feature = (UINT64_C(1) << N_CPU_FEATURES) - 1;

/* The word of a weight's dtype in names: the dtype's name in small letters; the pair of tensors that has no name in
 * any file is called by its own. */
static void dtype_word(char *word, size_t room, enum dtype weight)
{
    snprintf(word, room, "%s", weight == DTYPE_F8_B128 ? "f8_b128" : dtype_info(weight)->name);
    for (char *p = word; *p; p++)
        if (*p >= 'A' && *p <= 'Z') *p = (char)(*p - 'A' + 'a');
}

Test(registry, layout_names_say_what_the_layout_is)
{
    for (const struct panel_layout *const *list = panel_layouts(); *list; list++) {
        char dtype[32], want[64];
        dtype_word(dtype, sizeof dtype, (*list)->weight);
        int n = snprintf(want, sizeof want, "%s_r%d", dtype, (*list)->nr);
        char rows[64], file[64];
        snprintf(rows, sizeof rows, "%s_rows", dtype);
        snprintf(file, sizeof file, "%s_file", dtype);
        const char *rest = (*list)->name + n;
        bool panel = !strncmp((*list)->name, want, (size_t)n) && (!*rest || !strcmp(rest, "k2"));
        bool in_order = !strcmp((*list)->name, rows) || !strcmp((*list)->name, file);
        cr_expect(panel || in_order, "%s", (*list)->name);
        cr_expect(!(*list)->file_order || in_order, "%s", (*list)->name);
        cr_expect_geq((*list)->nr, 1);
        cr_expect_geq((*list)->kr, 1);
        /* Rows of whole blocks; only those of F8_B128 may end within one. */
        cr_expect_eq((*list)->kr,
                     (*list)->weight == DTYPE_F8_B128 ? 1 : dtype_info((*list)->weight)->elements_per_block, "%s",
                     (*list)->name);
    }
}

Test(registry, kernel_names_are_layout_activation_and_instruction_set)
{
    static const char *const sets[] = {"scalar", "avx2", "avxvnni",      "avx512",    "avx512vnni", "avx512bf16",
                                       "amx",    "neon", "neon_dotprod", "neon_i8mm", "neon_bf16",  "openblas"};
    static const char *const activations[] = {"_f32_", "_q8_", "_bf16_"};
    for (const struct panel_kernel *const *list = panel_kernels(); *list; list++) {
        size_t n = strlen((*list)->layout->name);
        cr_assert(!strncmp((*list)->name, (*list)->layout->name, n), "%s", (*list)->name);
        const char *rest = (*list)->name + n;
        bool known = false, rounds = strncmp(rest, "_f32_", 5) != 0;
        for (size_t a = 0; a < sizeof activations / sizeof activations[0]; a++)
            for (size_t i = 0; i < sizeof sets / sizeof sets[0]; i++) {
                size_t length = strlen(activations[a]);
                known |= !strncmp(rest, activations[a], length) && !strcmp(rest + length, sets[i]);
            }
        cr_expect(known, "%s", (*list)->name);
        cr_expect(rounds || !(*list)->layout->rounds_x, "%s", (*list)->name);
        cr_expect_geq((*list)->m_min, 1);
        cr_expect_geq((*list)->m_tile, 1);
        for (const struct panel_kernel *const *other = panel_kernels(); *other; other++)
            cr_expect(other == list || strcmp((*other)->name, (*list)->name));
    }
}

Test(registry, every_layout_has_a_scalar_kernel_for_each_exact_one)
{
    for (const struct panel_layout *const *list = panel_layouts(); *list; list++) {
        int n = 0;
        for (const struct panel_kernel *const *k = panel_kernels(); *k; k++) {
            if ((*k)->layout != *list) continue;
            n++;
            if (!(*k)->exact) continue;
            const struct panel_kernel *scalar = scalar_kernel(*k);
            cr_assert(scalar, "%s", (*k)->name);
            cr_expect_eq(scalar->needs, 0u);
            cr_expect_eq(scalar->m_min, 1);
        }
        cr_expect_geq(n, 1, "%s", (*list)->name);
        cr_expect_leq(n, MAX_KERNELS_PER_LAYOUT, "%s", (*list)->name);
    }
}

/* y [n] = the numbers of the file's row. */
static void file_row(float *y, enum dtype type, const char *row, size_t n)
{
    if (!dtype_info(type)->is_float) {
        quant_decode(type, y, row, n);
        return;
    }
    for (size_t i = 0; i < n; i++) {
        uint32_t word = 0;
        memcpy(&word, row + i * dtype_info(type)->bytes_per_block, dtype_info(type)->bytes_per_block);
        y[i] = type == DTYPE_F32   ? bits_float(word)
               : type == DTYPE_F16 ? fp16_to_float((uint16_t)word)
                                   : bf16_to_float((uint16_t)word);
    }
}

/* Packs into guarded memory filled with two patterns: every byte of packed_bytes must be written, none beyond. Then
 * reads each row back. */
Test(registry, pack_writes_exactly_packed_bytes_and_rows_come_back)
{
    static const int shapes[][2] = {{1, 1}, {5, 3}, {16, 64}, {17, 31}, {300, 100}, {512, 33}, {33, 290}};
    for (const struct panel_layout *const *list = panel_layouts(); *list; list++) {
        const struct panel_layout *layout = *list;
        for (size_t s = 0; s < sizeof shapes / sizeof shapes[0]; s++) {
            int n = shapes[s][0], k = (shapes[s][1] + layout->kr - 1) / layout->kr * layout->kr;
            size_t block = (size_t)dtype_info(layout->weight)->elements_per_block;
            size_t whole_k = ((size_t)k + block - 1) / block * block, row_bytes = blocks_bytes(layout->weight, whole_k);
            size_t stride = row_bytes + 1; /* rows apart, and unaligned */
            struct guarded_buffer file = guarded_make(stride * (size_t)n - 1, 0);
            struct rng rng = rng_seed(s);
            for (size_t i = 0; i < file.bytes; i++) ((unsigned char *)file.data)[i] = (unsigned char)rng_next(&rng);
            size_t bytes = layout->packed_bytes(n, k);
            struct guarded_buffer a = guarded_make(bytes, 0), b = guarded_make(bytes, 0);
            memset(b.data, 0x33, bytes);
            layout->pack(a.data, file.data, stride, 0, n, n, k);
            for (int row = 0; row < n; row += layout->nr) /* one panel at a time gives the same */
                layout->pack(b.data, (char *)file.data + (size_t)row * stride, stride, row,
                             row + layout->nr < n ? row + layout->nr : n, n, k);
            cr_assert(!guarded_damage(&a) && !guarded_damage(&b), "%s", layout->name);
            cr_assert(!memcmp(a.data, b.data, bytes), "%s leaves bytes unwritten", layout->name);

            float *y = malloc((size_t)k * sizeof(float)), *want = malloc(whole_k * sizeof(float));
            cr_assert(y && want);
            for (int row = 0; row < n; row++) {
                layout->get_row(y, a.data, row, k);
                file_row(want, layout->weight, (char *)file.data + (size_t)row * stride, whole_k);
                cr_assert_eq(first_difference(y, want, (size_t)k), -1, "%s row %d", layout->name, row);
            }
            free(y);
            free(want);
            guarded_free(&file);
            guarded_free(&a);
            guarded_free(&b);
        }
    }
}

Test(registry, every_weight_type_has_a_layout_and_an_exact_kernel_on_every_machine)
{
    static const uint64_t machines[] = {0, CPU_FEATURE(AVX2), CPU_FEATURE(AVX2) | CPU_FEATURE(AVX512),
                                        CPU_FEATURE(NEON), ~UINT64_C(0)};
    for (int type = 0; type < N_DTYPES; type++) {
        const struct dtype_info *info = dtype_info((enum dtype)type);
        const int block = type == DTYPE_F8_B128 ? 1 : info->elements_per_block;
        for (size_t f = 0; f < sizeof machines / sizeof machines[0]; f++)
            for (int m = 1; m < 1000; m = m * 3 + 1) {
                const struct panel_layout *layout =
                    panel_layout_choose((enum dtype)type, 33, 7 * block, machines[f], 0);
                if (!info->is_weight) {
                    cr_assert_null(layout, "%s", info->name);
                    continue;
                }
                cr_assert(layout && layout->weight == (enum dtype)type, "%s", info->name);
                if (block > 1) cr_assert_null(panel_layout_choose((enum dtype)type, 33, 7 * block + 1, machines[f], 0));
                const struct panel_kernel *kernel = panel_kernel_choose(layout, m, machines[f]);
                cr_assert(kernel && kernel->layout == layout && (kernel->needs & ~machines[f]) == 0, "%s", info->name);
                cr_assert(kernel->exact || strstr(kernel->name, "_bf16_amx"),
                          "%s: without PANEL_BLAS every product but that of tiles is exact", kernel->name);
            }
    }
}

static const uint64_t machines_of_today[] = {
    0,
    CPU_FEATURE(AVX2),
    CPU_FEATURE(AVX2) | CPU_FEATURE(AVXVNNI),
    CPU_FEATURE(AVX2) | CPU_FEATURE(AVX512),
    CPU_FEATURE(AVX2) | CPU_FEATURE(AVX512) | CPU_FEATURE(AVX512VNNI),
    CPU_FEATURE(NEON),
    CPU_FEATURE(NEON) | CPU_FEATURE(NEON_DOTPROD),
};
enum { N_MACHINES = sizeof machines_of_today / sizeof machines_of_today[0] };

/* Activations are packed once for several weights of one input, gate and up for example, whatever their types: as
 * floats, or, where both layouts round, in 8 bits. */
Test(registry, exact_kernels_of_one_machine_pack_activations_alike)
{
    static const unsigned flags[] = {0, PANEL_FLOAT, PANEL_FILE, PANEL_FILE | PANEL_FLOAT};
    for (int i = 0; i < 4 * N_MACHINES * N_DTYPES; i++) {
        const uint64_t machine = machines_of_today[i / 4 % N_MACHINES];
        const enum dtype type = (enum dtype)(i / 4 / N_MACHINES);
        const struct panel_layout *other = panel_layout_choose(type, 48, 256, machine, flags[i % 4]);
        if (!dtype_info(type)->is_weight) continue;
        const enum dtype alike = other->rounds_x ? DTYPE_Q4_0 : DTYPE_F32;
        const struct panel_layout *plain = panel_layout_choose(alike, 48, 256, machine, flags[i % 4]);
        for (int m = 1; m < 1000; m = m * 3 + 1)
            cr_expect_eq(panel_kernel_choose(plain, m, machine)->pack_x, panel_kernel_choose(other, m, machine)->pack_x,
                         "%s", other->name);
    }
}

Test(registry, float_products_and_file_order_where_they_are_asked_for)
{
    for (int i = 0; i < N_MACHINES * N_DTYPES; i++) {
        const uint64_t machine = machines_of_today[i % N_MACHINES];
        const enum dtype type = (enum dtype)(i / N_MACHINES);
        if (!dtype_info(type)->is_weight) continue;
        const struct panel_layout *plain = panel_layout_choose(type, 48, 256, machine, 0);
        const struct panel_layout *floats = panel_layout_choose(type, 48, 256, machine, PANEL_FLOAT);
        const struct panel_layout *file = panel_layout_choose(type, 48, 256, machine, PANEL_FILE);
        const struct panel_layout *both = panel_layout_choose(type, 48, 256, machine, PANEL_FILE | PANEL_FLOAT);
        cr_expect(!floats->rounds_x && !both->rounds_x && both->file_order, "%s", floats->name);
        cr_expect(file->file_order && file->rounds_x == plain->rounds_x, "%s", file->name);
        cr_expect_eq(file->packed_bytes(33, 512), 48 * blocks_bytes(type, 512), "%s", file->name);
    }
    cr_expect_str_eq(panel_layout_choose(DTYPE_Q4_K, 48, 256, 0, 0)->name, "q4_k_r16");
    cr_expect_str_eq(panel_layout_choose(DTYPE_Q4_K, 48, 256, 0, PANEL_FLOAT)->name, "q4_k_rows");
    cr_expect_str_eq(panel_layout_choose(DTYPE_Q4_K, 48, 256, 0, PANEL_FILE)->name, "q4_k_file");
}

Test(registry, openblas_only_where_it_is_asked_for)
{
    const struct panel_layout *plain = panel_layout_choose(DTYPE_F32, 256, 256, every_feature, 0);
    const struct panel_layout *blas = panel_layout_choose(DTYPE_F32, 256, 256, every_feature, PANEL_BLAS);
    cr_assert_str_eq(plain->name, "f32_r16");
#ifdef SLUICE_BLAS
    cr_assert_str_eq(blas->name, "f32_rows");
    cr_assert_str_eq(panel_kernel_choose(blas, 1, 0)->name, "f32_rows_f32_openblas");
#else
    cr_assert_eq(blas, plain);
#endif
    cr_assert_eq(panel_layout_choose(DTYPE_BF16, 256, 256, every_feature, PANEL_BLAS),
                 panel_layout_choose(DTYPE_BF16, 256, 256, every_feature, 0));
}

Test(registry, table_is_full_and_named_after_the_strongest_set)
{
    struct ops ops;
    ops_init(&ops, 0);
    cr_assert_str_eq(ops.name, "scalar");
    cr_assert(ops.rms_norm && ops.l2_norm && ops.rope && ops.silu_mul && ops.gelu_mul && ops.swiglu_clamped &&
              ops.silu && ops.sigmoid && ops.softcap && ops.softmax && ops.dot && ops.add && ops.add_scaled &&
              ops.mul && ops.mul_add && ops.scale && ops.clamp && ops.attention);
#ifdef __x86_64__
    ops_init(&ops, CPU_FEATURE(AVX2));
    cr_assert_str_eq(ops.name, "avx2");
    ops_init(&ops, CPU_FEATURE(AVX2) | CPU_FEATURE(AVX512));
    cr_assert_str_eq(ops.name, "avx512");
#endif
}
