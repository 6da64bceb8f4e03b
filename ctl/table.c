#include "ctl/table.h"

#include "common/mem.h"

#include <stdarg.h>

struct cell_text {
    char *text;
    enum ink ink;
};

struct column_head {
    char *name;
    bool right;
    size_t width;
};

struct table {
    bool colors;
    VEC(struct column_head) columns;
    VEC(struct cell_text) cells;
};

size_t text_width(const char *s)
{
    size_t n = 0;
    for (; *s; s++)
        n += (*s & 0xc0) != 0x80 && (unsigned char)*s >= ' ';
    return n;
}

struct table *table_new(const char *columns, bool colors)
{
    struct table *t = xnew(struct table);
    t->colors = colors;
    for (const char *p = columns; *p;) {
        size_t n = strcspn(p, "|");
        bool right = *p == '>';
        struct column_head c = {.name = xstrndup(p + right, n - right), .right = right};
        c.width = text_width(c.name);
        vec_push(&t->columns, c);
        p += n;
        p += *p == '|';
    }
    return t;
}

void table_cell(struct table *t, enum ink ink, const char *fmt, ...)
{
    va_list ap;
    char *text = NULL;
    va_start(ap, fmt);
    if (vasprintf(&text, fmt, ap) < 0)
        abort();
    va_end(ap);
    for (char *p = text; *p; p++) /* nothing of what others wrote steers the terminal */
        if ((unsigned char)*p < ' ' || *p == 0x7f)
            *p = ' ';
    struct column_head *c = &t->columns.items[t->cells.n % t->columns.n];
    size_t width = text_width(text);
    c->width = width > c->width ? width : c->width;
    vec_push(&t->cells, (struct cell_text){text, ink});
}

static const char *ink_code(enum ink ink)
{
    static const char *const codes[] = {
        [INK_PLAIN] = "",         [INK_DIM] = "\033[2m",     [INK_BOLD] = "\033[1m",
        [INK_GREEN] = "\033[32m", [INK_YELLOW] = "\033[33m", [INK_RED] = "\033[31m",
        [INK_BLUE] = "\033[34m"};
    return codes[ink];
}

static void print_text(FILE *out, bool colors, enum ink ink, const char *text)
{
    bool inked = colors && ink != INK_PLAIN && *text;
    fprintf(out, "%s%s%s", inked ? ink_code(ink) : "", text, inked ? "\033[0m" : "");
}

static void print_cell(const struct table *t, size_t column, enum ink ink, const char *text,
                       FILE *out)
{
    const struct column_head *c = &t->columns.items[column];
    int pad = (int)(c->width - text_width(text));
    bool last = column + 1 == t->columns.n;
    if (c->right)
        fprintf(out, "%*s", pad, "");
    print_text(out, t->colors, ink, text);
    if (last)
        fputc('\n', out);
    else
        fprintf(out, "%*s", (c->right ? 0 : pad) + 2, "");
}

void table_print(const struct table *t, FILE *out)
{
    if (!t->cells.n)
        return;
    for (size_t i = 0; i < t->columns.n; i++)
        print_cell(t, i, INK_DIM, t->columns.items[i].name, out);
    for (size_t i = 0; i < t->cells.n; i++)
        print_cell(t, i % t->columns.n, t->cells.items[i].ink, t->cells.items[i].text, out);
}

void table_free(struct table *t)
{
    if (!t)
        return;
    VEC_FOREACH (&t->columns, c)
        free(c->name);
    VEC_FOREACH (&t->cells, c)
        free(c->text);
    vec_free(&t->columns);
    vec_free(&t->cells);
    free(t);
}

void print_ink(FILE *out, bool colors, enum ink ink, const char *fmt, ...)
{
    va_list ap;
    cleanup_free char *text = NULL;
    va_start(ap, fmt);
    if (vasprintf(&text, fmt, ap) < 0)
        abort();
    va_end(ap);
    print_text(out, colors, ink, text);
}
