/* Tests of tools/page.c: what is written is well-formed, whatever the texts and numbers, and nothing half-written
 * stays. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/support/folder.h"
#include "tools/page.h"

static struct test_folder folder;
static void create(void) { folder_create(&folder); }
static void destroy(void) { folder_remove(&folder); }
TestSuite(page, .init = create, .fini = destroy);

/* The text of the page, malloc'ed, NUL-terminated. */
static char *content(const char *name)
{
    enum { CAP = 1 << 20 };
    char *text = malloc(CAP);
    FILE *file = fopen(folder_path(&folder, name), "rb");
    cr_assert(file && text);
    size_t n = fread(text, 1, CAP - 1, file);
    cr_assert(n > 0 && n < CAP - 1);
    text[n] = 0;
    fclose(file);
    return text;
}

/* Fails unless tags open and close in pairs, entities are complete and no attribute holds a raw quote: what a parser of
 * XML checks, as far as a page without comments and CDATA can break it. */
static void expect_well_formed(const char *text)
{
    const char *open[64];
    size_t lengths[64], depth = 0;
    for (const char *p = strstr(text, "<html"); *p; p++) {
        cr_assert(*p != '&' || (p[1] == '#' && p[2 + strspn(p + 2, "0123456789")] == ';'), "%.40s", p);
        cr_assert((unsigned char)*p >= 0x20 || *p == '\n' || *p == '\t');
        cr_assert(*p != '>', "a bracket too many: %.40s", p);
        if (*p != '<') continue;
        bool closes = p[1] == '/';
        const char *name = p + 1 + closes, *end = name;
        size_t length = strcspn(name, " />");
        cr_assert_gt(length, 0u);
        for (bool quoted = false; quoted || *end != '>'; end++) {
            cr_assert(*end && *end != '<', "%.60s", p);
            quoted ^= *end == '"';
        }
        if (closes) {
            cr_assert_gt(depth, 0u);
            depth--;
            cr_assert(lengths[depth] == length && memcmp(open[depth], name, length) == 0, "%.40s", p);
        } else if (end[-1] != '/') {
            cr_assert_lt(depth, 64u);
            open[depth] = name;
            lengths[depth++] = length;
        }
        p = end;
    }
    cr_assert_eq(depth, 0u, "something is left open");
}

static struct page *begin(const char *name, const char *title)
{
    struct page *page;
    sluice_error error = {0};
    cr_assert_eq(page_begin(&page, folder_path(&folder, name), title, &error), SLUICE_OK, "%s", error.text);
    return page;
}

/* Ends the page and gives its text. */
static char *finish(struct page *page, const char *name)
{
    sluice_error error = {0};
    cr_assert_eq(page_end(&page, &error), SLUICE_OK, "%s", error.text);
    char *text = content(name);
    expect_well_formed(text);
    return text;
}

static void draw_everything(struct page *page, const char *text, double strange)
{
    const double x[] = {1, 2, 4, strange, 2048}, y[] = {strange, 0.5, 0.001, 7, 1e9};
    const char *const names[] = {text, "two", text}, *const labels[] = {text, text, NULL, text, "e"};
    const struct page_axis linear = {.label = text}, log10_axis = {.label = "GB/s", .scale = PAGE_LOG10},
                           log2_axis = {.label = text, .scale = PAGE_LOG2},
                           given = {.label = "y", .scale = PAGE_LOG10, .low = 1, .high = strange};
    const struct page_series series[] = {
        {.name = text, .style = PAGE_LINE, .x = x, .y = y, .n = 5},
        {.name = "two", .style = PAGE_DASHED, .x = x, .y = y, .n = 5, .colour = 8},
        {.name = NULL, .style = PAGE_POINTS, .x = x, .y = y, .n = 5, .labels = labels, .show_labels = true},
        {.name = "", .style = PAGE_LINE_POINTS, .x = x, .y = y, .n = 5},
    };
    page_heading(page, text);
    page_paragraph(page, "%s %d", text, 7);
    page_note(page, "%s", text);
    page_table_begin(page, text, names, 3);
    page_table_row(page, (const char *const[]){text, "-1.5", NULL});
    page_table_end(page);
    page_plot(page, text, &log2_axis, &linear, series, 4);
    page_plot(page, text, &linear, &log10_axis, series, 4);
    page_plot(page, text, &log10_axis, &given, series, 4);
    page_plot(page, text, &linear, &linear, series, 0);
    page_plot(page, text, &linear, &linear, &(struct page_series){.x = &strange, .y = &strange, .n = 1}, 1);
    const double values[] = {1, strange, 3, 0, -1, 2};
    page_bars(page, text, &(struct page_bars){text, names, names, 3, 2, values});
    page_bars(page, text, &(struct page_bars){text, NULL, NULL, 0, 0, NULL});
    page_heat(page, text, &(struct page_heat){text, text, names, NULL, 3, 2, values, 0, 0, text, NULL});
    page_heat(page, text, &(struct page_heat){text, text, NULL, names, 2, 3, values, 1, strange, text, "%.1f"});
    page_heat(page, text, &(struct page_heat){0});
    const struct page_span spans[] = {
        {0, 0, 1, 2, text}, {2, 1, 3, strange, NULL}, {9, 0, 1, 2, NULL}, {0, 9, 1, 2, ""}};
    page_timeline(page, text, &(struct page_timeline){text, names, names, 3, 3, spans, 4});
    page_timeline(page, text, &(struct page_timeline){text, names, names, 0, 0, NULL, 0});
}

Test(page, any_text_and_any_number_gives_a_well_formed_page)
{
    static const char *const texts[] = {"",
                                        "plain",
                                        "<script>alert(\"1\")</script>&amp;'",
                                        "\x01\x7f\xff\xc3",
                                        "]]>",
                                        "\xc2\x9b\xef\xbf\xbf\xf0\x9f\xa6\x80"};
    const double numbers[] = {0, 5, -3, NAN, INFINITY, -INFINITY, 1e300, -1e300, 5e-324, 1e-300};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        for (size_t k = 0; k < sizeof numbers / sizeof *numbers; k++) {
            struct page *page = begin("p.html", texts[i]);
            draw_everything(page, texts[i], numbers[k]);
            char *text = finish(page, "p.html");
            cr_expect(!strstr(text, "nan") && !strstr(text, "\"inf") && !strstr(text, "-inf"), "%g", numbers[k]);
            free(text);
        }
    }
}

Test(page, text_is_escaped_once_and_characters_stay)
{
    struct page *page = begin("p.html", "a<b&\"c\"");
    page_paragraph(page, "1 < 2 %s \xc3\xa9\xff", "& 'x'");
    char *text = finish(page, "p.html");
    cr_expect(strstr(text, "<title>a&#60;b&#38;&#34;c&#34;</title>"));
    cr_expect(strstr(text, "<p>1 &#60; 2 &#38; &#39;x&#39; \xc3\xa9\xef\xbf\xbd</p>"));
    free(text);
}

/* Counts how often `what` occurs. */
static size_t count(const char *text, const char *what)
{
    size_t n = 0;
    for (; (text = strstr(text, what)); text++) n++;
    return n;
}

Test(page, logarithmic_axes_have_round_ticks)
{
    const double x[] = {1, 2048}, y[] = {0.03, 30}, large[] = {16384, 1 << 20};
    struct page *page = begin("p.html", "t");
    page_plot(page, "t", &(struct page_axis){"m", PAGE_LOG2, 0, 0}, &(struct page_axis){"ms", PAGE_LOG10, 0, 0},
              &(struct page_series){.name = "s", .style = PAGE_LINE_POINTS, .x = x, .y = y, .n = 2}, 1);
    page_plot(page, "t", &(struct page_axis){"m", PAGE_LOG2, 0, 0}, &(struct page_axis){.label = "ms"},
              &(struct page_series){.name = "s", .style = PAGE_LINE, .x = large, .y = large, .n = 2}, 1);
    char *text = finish(page, "p.html");
    cr_expect(strstr(text, ">16384</text>") && strstr(text, ">131.1k</text>") && strstr(text, ">1.049M</text>"));
    for (int m = 1; m <= 2048; m *= 2) {
        char label[32];
        snprintf(label, sizeof label, ">%d</text>", m);
        cr_expect(strstr(text, label), "%s", label);
    }
    cr_expect(strstr(text, ">0.01</text>") && strstr(text, ">100</text>"));
    cr_expect(strstr(text, "M74.0 "), "the first value lies on the axis");
    cr_expect(strstr(text, "L574.0 "), "the last value lies at the end");
    free(text);
}

Test(page, a_linear_axis_holds_its_values)
{
    const double x[] = {0, 10}, y[] = {0, 97};
    struct page *page = begin("p.html", "t");
    page_plot(page, "t", &(struct page_axis){.label = "x"}, &(struct page_axis){.label = "y"},
              &(struct page_series){.name = "s", .style = PAGE_LINE, .x = x, .y = y, .n = 2}, 1);
    char *text = finish(page, "p.html");
    cr_expect(strstr(text, ">20</text>") && strstr(text, ">100</text>") && !strstr(text, ">120</text>"));
    cr_expect(strstr(text, "M74.0 334.0L574.0 43.0"), "0, 0 lies in the corner and 97 just below 100");
    free(text);
}

Test(page, a_heat_map_has_one_cell_per_value_and_ends_of_its_scale)
{
    const double values[] = {0, 1, NAN, 0.5};
    struct page *page = begin("p.html", "t");
    page_heat(page, "t", &(struct page_heat){"layer", "expert", NULL, NULL, 2, 2, values, 0, 0, "share", NULL});
    char *text = finish(page, "p.html");
    cr_expect_eq(count(text, "<rect x=") - count(text, "height=\"12\""), 3u, "what is no number has no cell");
    cr_expect(strstr(text, "layer 1, expert 1: 0.5</title>"));
    cr_expect(strstr(text, "#00224e\"><title>layer 0, expert 0: 0<"), "the lowest is dark blue");
    cr_expect(strstr(text, "#fee838\"><title>layer 0, expert 1: 1<"), "the highest is yellow");
    free(text);
}

Test(page, an_unwritable_page_is_refused_at_once_and_a_dropped_one_leaves_nothing)
{
    struct page *page;
    sluice_error error = {0};
    cr_expect_eq(page_begin(&page, folder_path(&folder, "missing/p.html"), "t", &error), SLUICE_IO);
    cr_expect(strstr(error.text, "missing/p.html\": No such file"), "%s", error.text);
    page = begin("p.html", "t");
    page_discard(&page);
    page_discard(&page);
    cr_expect_neq(access(folder_path(&folder, "p.html"), F_OK), 0);
}
