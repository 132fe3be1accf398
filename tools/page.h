/* Owns pages for people: self-contained HTML files with tables and plots. No network, script or font; light or dark as
 * the reader's system says; readable at 360 pixels and on paper; all text is escaped. The page is at once HTML and
 * well-formed XML, so that tests can read it. Colours (Okabe and Ito) and the colour scale (cividis) are for all kinds
 * of colour vision, and series differ in mark and dash as well.
 *
 *     struct page *page;
 *     sluice_status status = page_begin(&page, "report.html", "What it costs", error);   // before the long work:
 *     if (status) return status;                                                         // an unwritable name is told
 *     page_heading(page, "Decode");
 *     page_paragraph(page, "%d tokens per second", n);
 *     page_plot(page, "...", &(struct page_axis){...}, ...);
 *     return page_end(&page, error);    // or page_discard(&page)
 *
 * Nothing between page_begin and page_end fails: what goes wrong is told by page_end, which then leaves no file. Texts
 * and arrays are used during the call and not kept. Numbers that are not finite are left out. */
#ifndef TOOLS_PAGE_H
#define TOOLS_PAGE_H

#include <stdbool.h>
#include <stddef.h>

#include "sluice/sluice.h"

struct page; /* on its way */

/* Creates the file and writes the beginning, with `title` as the first heading. SLUICE_IO: it cannot be written. */
sluice_status page_begin(struct page **out, const char *path, const char *title, sluice_error *error);
/* Completes the file, gives it its name and frees the page. */
sluice_status page_end(struct page **page, sluice_error *error);
/* Drops everything; NULL is fine. */
void page_discard(struct page **page);

/* ---- text ------------------------------------------------------------------------------------------------------- */

void page_heading(struct page *page, const char *text);
void page_paragraph(struct page *page, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* In smaller letters: how something was measured. */
void page_note(struct page *page, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* A table: begin with the names of the columns, n rows of as many cells, end. Cells that begin like a number are set to
 * the right, apart from the first column. `caption` may be NULL. A NULL cell is empty. */
void page_table_begin(struct page *page, const char *caption, const char *const *columns, size_t n_columns);
void page_table_row(struct page *page, const char *const *cells);
void page_table_end(struct page *page);

/* ---- lines and points -------------------------------------------------------------------------------------------- */

enum page_scale { PAGE_LINEAR, PAGE_LOG10, PAGE_LOG2 /* ticks at powers of two: 1, 2, 4 ... tokens */ };

struct page_axis {
    const char *label; /* with the unit: "tokens per pass", "GB/s" */
    enum page_scale scale;
    double low, high; /* ends of the axis; low == high: what the series need (and 0 for a linear y axis) */
};

enum page_style { PAGE_LINE, PAGE_DASHED, PAGE_POINTS, PAGE_LINE_POINTS };

struct page_series {
    const char *name; /* for the legend; NULL: not in it */
    enum page_style style;
    const double *x, *y; /* [n]; values <= 0 on logarithmic axes are left out and break the line */
    size_t n;
    const char *const *labels; /* [n] shown when the reader points at a mark; or NULL */
    bool show_labels;          /* and written beside it: for a few points, such as the operations on a roofline */
    int colour;                /* 0: by the number of the series; else 1..8, for pairs that belong together */
};

/* A roofline is two series of PAGE_LINE and one of PAGE_POINTS on two axes of PAGE_LOG10. */
void page_plot(struct page *page, const char *title, const struct page_axis *x, const struct page_axis *y,
               const struct page_series *series, size_t n_series);

/* ---- stacked bars ------------------------------------------------------------------------------------------------ */

struct page_bars {
    const char *unit;         /* of the values: "ms" */
    const char *const *rows;  /* [n_rows] names, "layer 0"; one bar each, from top to bottom */
    const char *const *parts; /* [n_parts] names for the legend */
    size_t n_rows, n_parts;   /* more than 8 parts: colours repeat */
    const double *values;     /* [n_rows, n_parts], not negative */
};
void page_bars(struct page *page, const char *title, const struct page_bars *bars);

/* ---- heat map ---------------------------------------------------------------------------------------------------- */

struct page_heat {
    const char *row_label, *column_label; /* what rows and columns are: "layer", "expert" */
    const char *const *rows;              /* [n_rows] names; NULL: numbers */
    const char *const *columns;           /* [n_columns] names; NULL: numbers */
    size_t n_rows, n_columns;
    const double *values;    /* [n_rows, n_columns]; NAN: no value */
    double low, high;        /* ends of the colour scale; low == high: 0 and the largest value */
    const char *value_label; /* beside the scale: "share of the layer's load" */
    const char *number;      /* printf format of one double for values; NULL: "%.3g" */
};
void page_heat(struct page *page, const char *title, const struct page_heat *heat);

/* ---- timeline ---------------------------------------------------------------------------------------------------- */

struct page_span {
    size_t lane, kind; /* below n_lanes, n_kinds */
    double begin, end; /* in the unit of the axis */
    const char *label; /* shown when the reader points at it; or NULL: the name of the kind */
};
struct page_timeline {
    const char *unit;                        /* "ms" */
    const char *const *lanes, *const *kinds; /* names: "thread 0"; "attention" */
    size_t n_lanes, n_kinds;
    const struct page_span *spans; /* [n_spans] */
    size_t n_spans;
};
void page_timeline(struct page *page, const char *title, const struct page_timeline *timeline);

#endif
