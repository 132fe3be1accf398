/* Owns the HTML and SVG of pages. Everything is written into memory, and into the file in one piece at the end.
 * Lengths are in the units of the SVG's viewBox, which is WIDTH wide and as wide as the page shows it. */
#include "page.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "output.h"
#include "utf8.h"

struct page {
    struct output_file file;
    FILE *stream; /* into `text` */
    char *text;   /* malloc'ed [length] */
    size_t length;
    size_t n_columns; /* of the table that is open */
    bool failed;      /* no memory for a part of it */
};

enum {
    WIDTH = 600,
    LEFT = 74, /* margins of plots: room for the ticks of y and for letters that are larger on small screens */
    RIGHT = 26,
    TOP = 34,
    BOTTOM = 56,
    PLOT_HEIGHT = 300,
    BAR_HEIGHT = 18,
    LANE_HEIGHT = 24,
    MAX_TICKS = 16,
    N_COLOURS = 8,
};

/* Colours are variables, so that both themes have lines that can be told from the background. Marks of text are
 * larger on small screens, where the drawing is smaller. No "<" or "&" here: this is XML as well. */
static const char style[] =
    ":root{color-scheme:light dark;--back:#fff;--text:#1a1a1a;--soft:#5a5a5a;--line:#d4d4d4;--box:#f5f5f5;"
    "--c1:#0072b2;--c2:#d55e00;--c3:#009e73;--c4:#b5518a;--c5:#a87600;--c6:#3392cc;--c7:#555;--c8:#7a5c99}"
    "@media(prefers-color-scheme:dark){:root{--back:#14171a;--text:#e8e8e8;--soft:#a8a8a8;--line:#3c4247;"
    "--box:#1e2327;--c1:#56b4e9;--c2:#ff8c42;--c3:#2fc79a;--c4:#e38fc0;--c5:#e6b422;--c6:#8ecbf2;--c7:#bbb;"
    "--c8:#b9a0da}}"
    "*{box-sizing:border-box}"
    "body{margin:0 auto;max-width:50rem;padding:1rem;background:var(--back);color:var(--text);"
    "font:16px/1.5 system-ui,sans-serif;overflow-wrap:anywhere}"
    "h1{font-size:1.5rem;line-height:1.25}h2{font-size:1.2rem;margin-top:2rem}"
    ".note,figcaption small{color:var(--soft);font-size:.85rem}"
    ".scroll{overflow-x:auto;margin:1rem 0}"
    "table{border-collapse:collapse;font-size:.9rem;font-variant-numeric:tabular-nums}"
    "caption{text-align:left;font-weight:600;padding-bottom:.3rem}"
    "th,td{padding:.2rem .6rem;border-bottom:1px solid var(--line);text-align:left;overflow-wrap:normal;"
    "white-space:nowrap}"
    "th{border-bottom:2px solid var(--line)}.n{text-align:right}"
    "figure{margin:1.2rem 0;padding:.6rem;background:var(--box);border-radius:6px;break-inside:avoid}"
    "figcaption{font-weight:600}.plot{display:block;width:100%;height:auto}"
    ".plot text{font-size:13px;fill:var(--text)}.plot .soft{fill:var(--soft)}"
    "@media(max-width:640px){.plot text{font-size:18px}.plot .often{display:none}body{padding:.6rem}}"
    ".legend{display:flex;flex-wrap:wrap;gap:.1rem 1rem;margin:.3rem 0 0;padding:0;list-style:none;font-size:.85rem}"
    ".legend svg{display:inline-block;width:28px;height:14px;vertical-align:-2px;margin-right:.3rem}"
    ".grid{stroke:var(--line);stroke-width:1}.axis{stroke:var(--soft);stroke-width:1;fill:none}"
    ".s{fill:none;stroke-width:2.2;stroke-linejoin:round}.d{stroke-dasharray:7 5}.gap{stroke:var(--back);"
    "stroke-width:.6}"
    "@media print{:root{color-scheme:light;--back:#fff;--text:#000;--soft:#444;--line:#ccc;--box:#fff;--c1:#0072b2;"
    "--c2:#d55e00;--c3:#009e73;--c4:#b5518a;--c5:#a87600;--c6:#3392cc;--c7:#555;--c8:#7a5c99}"
    "*{print-color-adjust:exact;-webkit-print-color-adjust:exact}.scroll{overflow:visible}}";

/* Cividis (Nunez, Anderton and Renslow 2018) at nine points: looks the same with and without colour blindness, and
 * its lightness alone tells the order. */
static const unsigned char cividis[][3] = {{0, 34, 78},     {18, 53, 112},   {59, 73, 108},   {87, 93, 109},
                                           {112, 113, 115}, {138, 134, 120}, {165, 156, 116}, {195, 179, 105},
                                           {225, 204, 85},  {254, 232, 56}};

/* ---- escaped text ----------------------------------------------------------------------------------------------- */

/* A character that XML allows and that shows as itself. */
static bool is_shown(uint32_t c)
{
    if (c == '\t' || c == '\n') return true;
    return c >= 0x20 && !(c >= 0x7f && c < 0xa0) && c != 0xfffe && c != 0xffff;
}

/* Whatever may not be there, half characters among it, becomes U+FFFD. */
static void put_text(FILE *to, const char *text)
{
    size_t n = text ? strlen(text) : 0;
    for (size_t i = 0; i < n;) {
        uint32_t c = 0;
        size_t length = utf8_sequence(text + i, n - i, &c);
        if (length == 0 || !is_shown(c))
            fputs("\xef\xbf\xbd", to);
        else if (c < 0x80 && strchr("&<>\"'", (int)c))
            fprintf(to, "&#%u;", (unsigned)c);
        else
            fwrite(text + i, 1, length, to);
        i += length ? length : 1;
    }
}

static void put_paragraph(struct page *page, const char *opening, const char *format, va_list args)
{
    char *text = NULL;
    if (vasprintf(&text, format, args) < 0) {
        page->failed = true;
        return;
    }
    fputs(opening, page->stream);
    put_text(page->stream, text);
    fputs("</p>\n", page->stream);
    free(text);
}

/* ---- the page --------------------------------------------------------------------------------------------------- */

sluice_status page_begin(struct page **out, const char *path, const char *title, sluice_error *error)
{
    struct page *page = *out = calloc(1, sizeof *page);
    if (page) page->stream = open_memstream(&page->text, &page->length);
    if (!page || !page->stream) {
        page_discard(out);
        return set_error(error, SLUICE_MEMORY, "not enough memory for a page");
    }
    sluice_status status = output_file_create(&page->file, path, error);
    if (status) {
        page_discard(out);
        return status;
    }
    fputs("<!DOCTYPE html>\n<html lang=\"en\" xmlns=\"http://www.w3.org/1999/xhtml\"><head><meta charset=\"utf-8\"/>"
          "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"/><title>",
          page->stream);
    put_text(page->stream, title);
    fprintf(page->stream, "</title><style>%s</style></head><body>\n<h1>", style);
    put_text(page->stream, title);
    fputs("</h1>\n", page->stream);
    return SLUICE_OK;
}

sluice_status page_end(struct page **pointer, sluice_error *error)
{
    struct page *page = *pointer;
    fputs("</body></html>\n", page->stream);
    bool failed = page->failed || ferror(page->stream);
    failed |= fclose(page->stream) != 0;
    page->stream = NULL;
    sluice_status status = failed ? set_error(error, SLUICE_MEMORY, "not enough memory for a page") : SLUICE_OK;
    if (!status) status = output_file_append(&page->file, page->text, page->length, error);
    if (!status) status = output_file_commit(&page->file, error);
    page_discard(pointer);
    return status;
}

void page_discard(struct page **pointer)
{
    struct page *page = *pointer;
    if (!page) return;
    if (page->stream) fclose(page->stream);
    free(page->text);
    output_file_discard(&page->file);
    free(page);
    *pointer = NULL;
}

void page_heading(struct page *page, const char *text)
{
    fputs("<h2>", page->stream);
    put_text(page->stream, text);
    fputs("</h2>\n", page->stream);
}

void page_paragraph(struct page *page, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    put_paragraph(page, "<p>", format, args);
    va_end(args);
}

void page_note(struct page *page, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    put_paragraph(page, "<p class=\"note\">", format, args);
    va_end(args);
}

/* ---- tables ----------------------------------------------------------------------------------------------------- */

void page_table_begin(struct page *page, const char *caption, const char *const *columns, size_t n_columns)
{
    page->n_columns = n_columns;
    fputs("<div class=\"scroll\"><table>", page->stream);
    if (caption) {
        fputs("<caption>", page->stream);
        put_text(page->stream, caption);
        fputs("</caption>", page->stream);
    }
    fputs("<thead><tr>", page->stream);
    for (size_t i = 0; i < n_columns; i++) {
        fputs("<th>", page->stream);
        put_text(page->stream, columns[i]);
        fputs("</th>", page->stream);
    }
    fputs("</tr></thead><tbody>\n", page->stream);
}

static bool begins_like_a_number(const char *cell) { return cell && *cell && strchr("0123456789+-.", *cell); }

void page_table_row(struct page *page, const char *const *cells)
{
    fputs("<tr>", page->stream);
    for (size_t i = 0; i < page->n_columns; i++) {
        fputs(i && begins_like_a_number(cells[i]) ? "<td class=\"n\">" : "<td>", page->stream);
        put_text(page->stream, cells[i]);
        fputs("</td>", page->stream);
    }
    fputs("</tr>\n", page->stream);
}

void page_table_end(struct page *page) { fputs("</tbody></table></div>\n", page->stream); }

/* ---- what all drawings share ------------------------------------------------------------------------------------- */

struct number {
    char text[32];
};

/* Short enough for a tick: "2048", "0.25", "1.5M". */
static struct number number_of(double value)
{
    static const struct {
        double unit;
        const char *name;
    } units[] = {{1e12, "T"}, {1e9, "G"}, {1e6, "M"}, {1e3, "k"}};
    struct number n;
    double size = fabs(value);
    snprintf(n.text, sizeof n.text, size >= 1e4 && size < 1e5 ? "%.5g" : "%.4g", value);
    if (size >= 1e15 || size < 1e5) return n;
    for (size_t i = 0; i < sizeof units / sizeof *units; i++) {
        if (size < units[i].unit) continue;
        snprintf(n.text, sizeof n.text, "%.4g%s", value / units[i].unit, units[i].name);
        return n;
    }
    return n;
}

static int colour_of(size_t i) { return (int)(i % N_COLOURS) + 1; }

static void begin_figure(FILE *to, const char *title, double height)
{
    fputs("<figure><figcaption>", to);
    put_text(to, title);
    fprintf(to, "</figcaption>\n<svg class=\"plot\" viewBox=\"0 0 %d %.0f\" role=\"img\" aria-label=\"", WIDTH, height);
    put_text(to, title);
    fputs("\">\n", to);
}

/* Ends the drawing, too. The swatches are squares. */
static void end_with_legend(FILE *to, const char *const *names, size_t n)
{
    fputs("</svg>\n<ul class=\"legend\">", to);
    for (size_t i = 0; i < n; i++) {
        fprintf(to,
                "<li><svg viewBox=\"0 0 28 14\"><rect x=\"7\" width=\"14\" height=\"14\" fill=\"var(--c%d)\"/></svg>",
                colour_of(i));
        put_text(to, names[i]);
        fputs("</li>", to);
    }
    fputs("</ul></figure>\n", to);
}

static void put_label(FILE *to, double x, double y, const char *anchor, const char *class, const char *text)
{
    fprintf(to, "<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"%s\"%s%s%s>", x, y, anchor, *class ? " class=\"" : "", class,
            *class ? "\"" : "");
    put_text(to, text);
    fputs("</text>\n", to);
}

/* Room for names on the left, counted for the letters of small screens. */
static double margin_for(const char *const *names, size_t n, size_t least)
{
    size_t longest = least;
    for (size_t i = 0; names && i < n; i++)
        if (names[i] && strlen(names[i]) > longest) longest = strlen(names[i]);
    return fmin(24 + 9.5 * (double)longest, 240);
}

/* ---- axes -------------------------------------------------------------------------------------------------------- */

/* An axis with its ends settled. Values are mapped from low..high, after the logarithm, to from..to of the drawing. */
struct axis {
    enum page_scale scale;
    double low, high, from, to;
    size_t n_ticks;
    double ticks[MAX_TICKS];
};

/* Far enough from the ends of double that steps and powers can be computed. */
static bool fits_axis(enum page_scale scale, double value)
{
    return fabs(value) < 1e100 && (scale == PAGE_LINEAR || value > 1e-100);
}

static double transform(enum page_scale scale, double value)
{
    return scale == PAGE_LOG10 ? log10(value) : scale == PAGE_LOG2 ? log2(value) : value;
}

static double place(const struct axis *a, double value)
{
    return a->from + (transform(a->scale, value) - a->low) / (a->high - a->low) * (a->to - a->from);
}

static void add_tick(struct axis *a, double value)
{
    double at = transform(a->scale, value), slack = 1e-9 * (a->high - a->low);
    if (a->n_ticks < MAX_TICKS && at >= a->low - slack && at <= a->high + slack) a->ticks[a->n_ticks++] = value;
}

/* 1, 2 or 5 times a power of ten, so that about n steps cover the range. */
static double nice_step(double range, double n)
{
    double raw = range / n, power = pow(10, floor(log10(raw)));
    double factor = raw / power;
    return power * (factor <= 1 ? 1 : factor <= 2 ? 2 : factor <= 5 ? 5 : 10);
}

static void make_linear_ticks(struct axis *a, bool widen)
{
    double step = nice_step(a->high - a->low, 5);
    if (widen) {
        a->low = floor(a->low / step + 1e-9) * step;
        a->high = ceil(a->high / step - 1e-9) * step;
    }
    double first = ceil(a->low / step - 1e-9);
    for (int i = 0; i < MAX_TICKS; i++) {
        double value = (first + i) * step;
        add_tick(a, fabs(value) < 1e-9 * step ? 0 : value);
    }
}

/* Whole powers of the base; 1, 2, 5 between them where there are less than two decades. */
static void make_log_ticks(struct axis *a, bool widen)
{
    if (widen) {
        a->low = floor(a->low + 1e-9);
        a->high = ceil(a->high - 1e-9);
        if (a->high <= a->low) a->high = a->low + 1;
    }
    double base = a->scale == PAGE_LOG10 ? 10 : 2, range = a->high - a->low;
    double stride = fmax(1, ceil(range / (a->scale == PAGE_LOG10 ? 8 : 13)));
    bool between = a->scale == PAGE_LOG10 && range <= 2.5;
    const double lowest = floor(a->low);
    const int n_strides = (int)floor((a->high + 1e-9 - lowest) / stride);
    for (int i = 0; i <= n_strides; i++) {
        const double e = lowest + i * stride;
        add_tick(a, pow(base, e));
        if (between) add_tick(a, 2 * pow(base, e));
        if (between) add_tick(a, 5 * pow(base, e));
    }
}

/* Settles the ends from what is asked, or from the values low..high of the series. */
static struct axis make_axis(const struct page_axis *asked, double low, double high, double from, double to)
{
    struct axis a = {.scale = asked->scale, .from = from, .to = to};
    bool given =
        asked->low < asked->high && fits_axis(asked->scale, asked->low) && fits_axis(asked->scale, asked->high);
    if (given) {
        low = asked->low;
        high = asked->high;
    } else if (!(low <= high)) {
        low = 1;
        high = 10;
    }
    a.low = transform(a.scale, low);
    a.high = transform(a.scale, high);
    if (!(a.high - a.low > fmax(1e-9 * fmax(fabs(a.low), fabs(a.high)), 1e-100))) {
        double half = a.scale == PAGE_LINEAR && fabs(a.low) > 1e-90 ? fabs(a.low) / 2 : 0.5;
        a.low -= half;
        a.high += half;
    }
    if (a.scale == PAGE_LINEAR)
        make_linear_ticks(&a, !given);
    else
        make_log_ticks(&a, !given);
    return a;
}

/* Every second label is left out on small screens where there are many. */
static const char *class_of_tick(const struct axis *a, size_t i) { return a->n_ticks > 6 && i % 2 ? "often" : ""; }

static void draw_x_axis(FILE *to, const struct axis *x, const char *label, double top, double bottom)
{
    for (size_t i = 0; i < x->n_ticks; i++) {
        double at = place(x, x->ticks[i]);
        fprintf(to, "<line class=\"grid\" x1=\"%.1f\" x2=\"%.1f\" y1=\"%.1f\" y2=\"%.1f\"/>\n", at, at, top, bottom);
        put_label(to, at, bottom + 19, "middle", class_of_tick(x, i), number_of(x->ticks[i]).text);
    }
    fprintf(to, "<line class=\"axis\" x1=\"%.1f\" x2=\"%.1f\" y1=\"%.1f\" y2=\"%.1f\"/>\n", x->from, x->to, bottom,
            bottom);
    put_label(to, (x->from + x->to) / 2, bottom + 43, "middle", "soft", label);
}

static void draw_y_axis(FILE *to, const struct axis *y, const char *label, double left, double right)
{
    for (size_t i = 0; i < y->n_ticks; i++) {
        double at = place(y, y->ticks[i]);
        fprintf(to, "<line class=\"grid\" x1=\"%.1f\" x2=\"%.1f\" y1=\"%.1f\" y2=\"%.1f\"/>\n", left, right, at, at);
        put_label(to, left - 7, at + 5, "end", "", number_of(y->ticks[i]).text);
    }
    fprintf(to, "<line class=\"axis\" x1=\"%.1f\" x2=\"%.1f\" y1=\"%.1f\" y2=\"%.1f\"/>\n", left, left, y->from, y->to);
    put_label(to, 4, TOP - 12, "start", "soft", label);
}

/* ---- lines and points -------------------------------------------------------------------------------------------- */

/* Where labels stand already, so that none is written over another. */
enum { MAX_PLACED = 128 };
struct placed {
    size_t count;
    struct {
        double left, right, y;
    } items[MAX_PLACED];
};

static bool is_free(const struct placed *p, double left, double right, double y)
{
    for (size_t i = 0; i < p->count; i++)
        if (left < p->items[i].right && right > p->items[i].left && fabs(y - p->items[i].y) < 17) return false;
    return true;
}

/* Beside the mark, or as little above or below that as there is room. */
static void draw_point_label(FILE *to, struct placed *p, double x, double y, const char *text)
{
    double width = 9.5 * (double)strlen(text);
    bool to_left = x + width > WIDTH - LEFT - RIGHT;
    double left = to_left ? x - 9 - width : x + 9, at = y;
    for (int i = 0; i < 12 && !is_free(p, left, left + width, at); i++) {
        const int distance = 8 * (i / 2 + 1);
        at = i % 2 ? y - distance : y + distance;
    }
    if (p->count < MAX_PLACED) {
        p->items[p->count].left = left;
        p->items[p->count].right = left + width;
        p->items[p->count++].y = at;
    }
    put_label(to, to_left ? x - 9 : x + 9, at + 4, to_left ? "end" : "start", "", text);
}

/* One of four shapes, so that series differ without colour. */
static void draw_mark(FILE *to, double x, double y, size_t shape, int colour, const char *label)
{
    fprintf(to, "<path fill=\"var(--c%d)\" class=\"gap\" d=\"M%.1f %.1f", colour, x, y);
    switch (shape % 4) {
    case 0: fputs("m-4.5 0a4.5 4.5 0 1 0 9 0a4.5 4.5 0 1 0-9 0z", to); break;
    case 1: fputs("m-4-4h8v8h-8z", to); break;
    case 2: fputs("m0-5.5l5 9.5h-10z", to); break;
    default: fputs("m0-6l5 6l-5 6l-5-6z", to); break;
    }
    fputs("\"", to);
    if (label) {
        fputs("><title>", to);
        put_text(to, label);
        fputs("</title></path>\n", to);
    } else {
        fputs("/>\n", to);
    }
}

static int series_colour(const struct page_series *s, size_t i) { return s->colour ? s->colour : colour_of(i); }

static void draw_line(FILE *to, const struct page_series *s, size_t number, const struct axis *x, const struct axis *y)
{
    bool drawing = false;
    fprintf(to, "<path class=\"s%s\" stroke=\"var(--c%d)\" d=\"M0 0", s->style == PAGE_DASHED ? " d" : "",
            series_colour(s, number));
    for (size_t i = 0; i < s->n; i++) {
        bool valid = fits_axis(x->scale, s->x[i]) && fits_axis(y->scale, s->y[i]);
        if (valid) fprintf(to, "%c%.1f %.1f", drawing ? 'L' : 'M', place(x, s->x[i]), place(y, s->y[i]));
        drawing = valid;
    }
    fputs("\"/>\n", to);
}

static void draw_points(FILE *to, const struct page_series *s, size_t number, const struct axis *x,
                        const struct axis *y, struct placed *placed)
{
    for (size_t i = 0; i < s->n; i++) {
        if (!fits_axis(x->scale, s->x[i]) || !fits_axis(y->scale, s->y[i])) continue;
        double at_x = place(x, s->x[i]), at_y = place(y, s->y[i]);
        const char *label = s->labels ? s->labels[i] : NULL;
        char hint[160];
        snprintf(hint, sizeof hint, "%s%s%s, %s",
                 label     ? label
                 : s->name ? s->name
                           : "",
                 label || s->name ? ": " : "", number_of(s->x[i]).text, number_of(s->y[i]).text);
        draw_mark(to, at_x, at_y, number, series_colour(s, number), hint);
        if (label && s->show_labels) draw_point_label(to, placed, at_x, at_y, label);
    }
}

static void end_plot(FILE *to, const struct page_series *series, size_t n_series)
{
    fputs("</svg>\n<ul class=\"legend\">", to);
    for (size_t i = 0; i < n_series; i++) {
        const struct page_series *s = &series[i];
        if (!s->name) continue;
        fputs("<li><svg viewBox=\"0 0 28 14\">", to);
        if (s->style != PAGE_POINTS)
            fprintf(to, "<path class=\"s%s\" stroke=\"var(--c%d)\" d=\"M0 7h28\"/>",
                    s->style == PAGE_DASHED ? " d" : "", series_colour(s, i));
        if (s->style >= PAGE_POINTS) draw_mark(to, 14, 7, i, series_colour(s, i), NULL);
        fputs("</svg>", to);
        put_text(to, s->name);
        fputs("</li>", to);
    }
    fputs("</ul></figure>\n", to);
}

/* Widens low..high by the values that the axis can show, of points that both axes can show. */
static void find_range(const struct page_series *s, bool of_y, enum page_scale x, enum page_scale y, double *low,
                       double *high)
{
    for (size_t i = 0; i < s->n; i++) {
        if (!fits_axis(x, s->x[i]) || !fits_axis(y, s->y[i])) continue;
        *low = fmin(*low, of_y ? s->y[i] : s->x[i]);
        *high = fmax(*high, of_y ? s->y[i] : s->x[i]);
    }
}

void page_plot(struct page *page, const char *title, const struct page_axis *x, const struct page_axis *y,
               const struct page_series *series, size_t n_series)
{
    double x_low = INFINITY, x_high = -INFINITY, y_low = y->scale == PAGE_LINEAR ? 0 : INFINITY, y_high = -INFINITY;
    FILE *to = page->stream;
    for (size_t i = 0; i < n_series; i++) {
        find_range(&series[i], false, x->scale, y->scale, &x_low, &x_high);
        find_range(&series[i], true, x->scale, y->scale, &y_low, &y_high);
    }
    struct axis along = make_axis(x, x_low, x_high, LEFT, WIDTH - RIGHT);
    struct axis up = make_axis(y, y_low, y_high, TOP + PLOT_HEIGHT, TOP);
    begin_figure(to, title, TOP + PLOT_HEIGHT + BOTTOM);
    draw_x_axis(to, &along, x->label, TOP, TOP + PLOT_HEIGHT);
    draw_y_axis(to, &up, y->label, LEFT, WIDTH - RIGHT);
    /* A drawing in the drawing cuts what lies beyond axes with given ends; marks on the axes stay whole. */
    fprintf(to, "<svg x=\"%d\" y=\"%d\" width=\"%d\" height=\"%d\" viewBox=\"%d %d %d %d\">\n", LEFT - 7, TOP - 7,
            WIDTH - LEFT - RIGHT + 14, PLOT_HEIGHT + 14, LEFT - 7, TOP - 7, WIDTH - LEFT - RIGHT + 14,
            PLOT_HEIGHT + 14);
    struct placed placed = {0};
    for (size_t i = 0; i < n_series; i++)
        if (series[i].style != PAGE_POINTS) draw_line(to, &series[i], i, &along, &up);
    for (size_t i = 0; i < n_series; i++)
        if (series[i].style >= PAGE_POINTS) draw_points(to, &series[i], i, &along, &up, &placed);
    fputs("</svg>\n", to);
    end_plot(to, series, n_series);
}

/* ---- stacked bars ------------------------------------------------------------------------------------------------ */

static double amount(double value) { return fits_axis(PAGE_LOG10, value) ? value : 0; }

static double sum_of_row(const struct page_bars *b, size_t row)
{
    double sum = 0;
    for (size_t i = 0; i < b->n_parts; i++) sum += amount(b->values[row * b->n_parts + i]);
    return sum;
}

static void draw_bar(FILE *to, const struct page_bars *b, size_t row, const struct axis *x, double y)
{
    double sum = 0;
    for (size_t i = 0; i < b->n_parts; i++) {
        double value = amount(b->values[row * b->n_parts + i]), begin = place(x, sum);
        if (value == 0) continue;
        sum += value;
        fprintf(to,
                "<rect class=\"gap\" x=\"%.2f\" y=\"%.1f\" width=\"%.2f\" height=\"%d\" fill=\"var(--c%d)\"><title>",
                begin, y, place(x, sum) - begin, BAR_HEIGHT - 4, colour_of(i));
        put_text(to, b->rows[row]);
        fputs(", ", to);
        put_text(to, b->parts[i]);
        fprintf(to, ": %s ", number_of(value).text);
        put_text(to, b->unit);
        fputs("</title></rect>\n", to);
    }
}

void page_bars(struct page *page, const char *title, const struct page_bars *b)
{
    FILE *to = page->stream;
    double left = margin_for(b->rows, b->n_rows, 4), height = BAR_HEIGHT * (double)b->n_rows, longest = 0;
    for (size_t i = 0; i < b->n_rows; i++) longest = fmax(longest, sum_of_row(b, i));
    struct axis x = make_axis(&(struct page_axis){.scale = PAGE_LINEAR}, 0, longest, left, WIDTH - 30);
    begin_figure(to, title, 8 + height + BOTTOM);
    draw_x_axis(to, &x, b->unit, 8, 8 + height);
    for (size_t i = 0; i < b->n_rows; i++) {
        double y = 10 + BAR_HEIGHT * (double)i;
        put_label(to, left - 8, y + 12, "end", b->n_rows > 12 && i % 2 ? "often" : "", b->rows[i]);
        draw_bar(to, b, i, &x, y);
    }
    end_with_legend(to, b->parts, b->n_parts);
}

/* ---- heat map ---------------------------------------------------------------------------------------------------- */

enum { SCALE_CELLS = 48, MOST_HINTS = 30000 /* cells with a hint: each takes a hundred bytes */ };

/* A shade of the scale, 0..1. */
static void put_shade(FILE *to, double share)
{
    enum { LAST = sizeof cividis / sizeof *cividis - 1 };
    double at = fmin(fmax(share, 0), 1) * LAST;
    size_t i = at >= LAST ? LAST - 1 : (size_t)at;
    int c[3];
    for (int k = 0; k < 3; k++)
        c[k] = (int)lround(cividis[i][k] + (at - (double)i) * (cividis[i + 1][k] - cividis[i][k]));
    fprintf(to, "#%02x%02x%02x", c[0], c[1], c[2]);
}

struct heat_frame {
    double left, top, cell_width, cell_height, low, high;
};

static const char *name_of(const char *const *names, size_t i, struct number *buffer)
{
    if (names) return names[i];
    snprintf(buffer->text, sizeof buffer->text, "%zu", i);
    return buffer->text;
}

/* The format is the caller's, with one double, as page.h says. */
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
static struct number heat_number(const struct page_heat *h, double value)
{
    struct number n;
    snprintf(n.text, sizeof n.text, h->number ? h->number : "%.3g", value);
    return n;
}
#pragma GCC diagnostic pop

static void draw_cell(FILE *to, const struct page_heat *h, const struct heat_frame *f, size_t row, size_t column)
{
    struct number buffer;
    double value = h->values[row * h->n_columns + column], share = (value - f->low) / (f->high - f->low);
    double x = f->left + f->cell_width * (double)column, y = f->top + f->cell_height * (double)row;
    if (!fits_axis(PAGE_LINEAR, value)) return;
    fprintf(to, "<rect x=\"%.2f\" y=\"%.1f\" width=\"%.2f\" height=\"%.1f\" fill=\"", x, y, f->cell_width + 0.05,
            f->cell_height);
    put_shade(to, share);
    if (h->n_rows * h->n_columns > MOST_HINTS) {
        fputs("\"/>", to);
        return;
    }
    fputs("\"><title>", to);
    put_text(to, h->row_label);
    fputc(' ', to);
    put_text(to, name_of(h->rows, row, &buffer));
    fputs(", ", to);
    put_text(to, h->column_label);
    fputc(' ', to);
    put_text(to, name_of(h->columns, column, &buffer));
    fprintf(to, ": %s</title></rect>\n", heat_number(h, value).text);
    if (f->cell_width >= 44 && f->cell_height >= 18)
        fprintf(to, "<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"middle\" style=\"fill:%s;font-size:12px\">%s</text>\n",
                x + f->cell_width / 2, y + f->cell_height / 2 + 4, share > 0.5 ? "#000" : "#fff",
                heat_number(h, value).text);
}

/* Labels of rows and columns, as many as have room. */
static void draw_heat_labels(FILE *to, const struct page_heat *h, const struct heat_frame *f, double bottom)
{
    struct number buffer;
    size_t longest = 1, row_step = (size_t)ceil(16 / f->cell_height);
    for (size_t i = 0; i < h->n_columns; i++) {
        size_t length = strlen(name_of(h->columns, i, &buffer));
        if (length > longest) longest = length;
    }
    size_t column_step = (size_t)ceil((8.0 * (double)longest + 12) / f->cell_width);
    while (!h->columns && column_step & (column_step - 1)) column_step++; /* 0, 16, 32 ... are easier to read */
    for (size_t i = 0; i < h->n_rows; i += row_step)
        put_label(to, f->left - 8, f->top + f->cell_height * ((double)i + 0.5) + 5, "end",
                  i / row_step % 2 && f->cell_height * (double)row_step < 20 ? "often" : "",
                  name_of(h->rows, i, &buffer));
    for (size_t i = 0; i < h->n_columns; i += column_step)
        put_label(to, f->left + f->cell_width * ((double)i + 0.5), bottom + 18, "middle",
                  i / column_step % 2 ? "often" : "", name_of(h->columns, i, &buffer));
    put_label(to, 4, f->top - 9, "start", "soft", h->row_label);
    put_label(to, f->left + f->cell_width * (double)h->n_columns / 2, bottom + 38, "middle", "soft", h->column_label);
}

static void draw_colour_scale(FILE *to, const struct page_heat *h, const struct heat_frame *f, double y)
{
    double left = f->left, width = (WIDTH - RIGHT - left) / SCALE_CELLS;
    for (int i = 0; i < SCALE_CELLS; i++) {
        fprintf(to, "<rect x=\"%.2f\" y=\"%.1f\" width=\"%.2f\" height=\"12\" fill=\"", left + width * i, y,
                width + 0.1);
        put_shade(to, (double)i / (SCALE_CELLS - 1));
        fputs("\"/>", to);
    }
    put_label(to, left, y + 30, "start", "", heat_number(h, f->low).text);
    put_label(to, WIDTH - RIGHT, y + 30, "end", "", heat_number(h, f->high).text);
    put_label(to, (left + WIDTH - RIGHT) / 2, y + 30, "middle", "soft", h->value_label);
}

void page_heat(struct page *page, const char *title, const struct page_heat *h)
{
    FILE *to = page->stream;
    size_t n = h->n_rows * h->n_columns;
    struct heat_frame f = {.left = margin_for(h->rows, h->n_rows, 3), .top = 28, .low = h->low, .high = h->high};
    if (n == 0) return;
    if (!(h->low < h->high && fits_axis(PAGE_LINEAR, h->low) && fits_axis(PAGE_LINEAR, h->high))) {
        f.low = f.high = 0;
        for (size_t i = 0; i < n; i++)
            if (fits_axis(PAGE_LINEAR, h->values[i])) f.high = fmax(f.high, h->values[i]);
        if (f.high == 0) f.high = 1;
    }
    f.cell_width = (WIDTH - RIGHT - f.left) / (double)h->n_columns;
    f.cell_height = fmin(fmax(f.cell_width, h->n_rows > 80 ? 4 : h->n_rows > 40 ? 8 : 14), 24);
    double bottom = f.top + f.cell_height * (double)h->n_rows;
    begin_figure(to, title, bottom + 98);
    fputs("<g shape-rendering=\"crispEdges\">", to);
    for (size_t row = 0; row < h->n_rows; row++)
        for (size_t column = 0; column < h->n_columns; column++) draw_cell(to, h, &f, row, column);
    fputs("</g>\n", to);
    draw_heat_labels(to, h, &f, bottom);
    draw_colour_scale(to, h, &f, bottom + 54);
    fputs("</svg></figure>\n", to);
}

/* ---- timeline ---------------------------------------------------------------------------------------------------- */

static bool is_drawn(const struct page_timeline *t, const struct page_span *s)
{
    return s->lane < t->n_lanes && s->kind < t->n_kinds && fits_axis(PAGE_LINEAR, s->begin) &&
           fits_axis(PAGE_LINEAR, s->end) && s->begin <= s->end;
}

static void draw_span(FILE *to, const struct page_timeline *t, const struct page_span *s, const struct axis *x)
{
    double begin = place(x, s->begin), end = place(x, s->end);
    fprintf(to, "<rect x=\"%.2f\" y=\"%.1f\" width=\"%.2f\" height=\"%d\" fill=\"var(--c%d)\"><title>", begin,
            10 + LANE_HEIGHT * (double)s->lane, fmax(end - begin, 0.3), LANE_HEIGHT - 6, colour_of(s->kind));
    put_text(to, s->label ? s->label : t->kinds[s->kind]);
    fprintf(to, ": %s ", number_of(s->end - s->begin).text);
    put_text(to, t->unit);
    fprintf(to, " from %s</title></rect>\n", number_of(s->begin).text);
}

void page_timeline(struct page *page, const char *title, const struct page_timeline *t)
{
    FILE *to = page->stream;
    double left = margin_for(t->lanes, t->n_lanes, 4), height = LANE_HEIGHT * (double)t->n_lanes;
    double low = INFINITY, high = -INFINITY;
    for (size_t i = 0; i < t->n_spans; i++) {
        if (!is_drawn(t, &t->spans[i])) continue;
        low = fmin(low, t->spans[i].begin);
        high = fmax(high, t->spans[i].end);
    }
    /* The ends are those of the spans: rounded ones would waste half of the width. */
    struct page_axis ends = {.scale = PAGE_LINEAR, .low = low, .high = high};
    struct axis x = make_axis(&ends, low, high, left, WIDTH - RIGHT);
    begin_figure(to, title, 8 + height + BOTTOM);
    draw_x_axis(to, &x, t->unit, 8, 8 + height);
    for (size_t i = 0; i < t->n_lanes; i++)
        put_label(to, left - 8, 24 + LANE_HEIGHT * (double)i, "end", "", t->lanes[i]);
    for (size_t i = 0; i < t->n_spans; i++) {
        const struct page_span *s = &t->spans[i];
        if (is_drawn(t, s)) draw_span(to, t, s, &x);
    }
    end_with_legend(to, t->kinds, t->n_kinds);
}
