/* From text to instructions and stages. */
#include "common/dockerfile_internal.h"
#include "common/nearest.h"

#include <ctype.h>
#include <errno.h>
#include <limits.h>
#include <strings.h>

static const char *const keyword_names[DF_KEYWORD_COUNT] = {
    "ADD",    "ARG",   "CMD",         "COPY",  "ENTRYPOINT", "ENV",
    "EXPOSE", "FROM",  "HEALTHCHECK", "LABEL", "MAINTAINER", "ONBUILD",
    "RUN",    "SHELL", "STOPSIGNAL",  "USER",  "VOLUME",     "WORKDIR"};

/* Where the parser is in the text. */
struct reader {
    const char *text;
    size_t n, pos;
    int line; /* of the line at pos, from 1 */
};

/* One line without its end. */
struct line {
    const char *s;
    size_t n, offset;
    int number;
};

const char *df_keyword_name(enum df_keyword keyword)
{
    return keyword_names[keyword];
}

size_t df_offset(const struct df_instruction *instruction, size_t at)
{
    size_t low = 0, high = instruction->pieces.n;
    while (high - low > 1) {
        size_t middle = low + (high - low) / 2;
        if (instruction->pieces.items[middle].at <= at)
            low = middle;
        else
            high = middle;
    }
    const struct df_piece *piece = &instruction->pieces.items[low];
    return piece->offset + (at - piece->at);
}

static bool next_line(struct reader *reader, struct line *ret_line)
{
    if (reader->pos >= reader->n)
        return false;
    const char *s = reader->text + reader->pos;
    const char *end = memchr(s, '\n', reader->n - reader->pos);
    size_t n = end ? (size_t)(end - s) : reader->n - reader->pos;
    *ret_line = (struct line){s, n, reader->pos, reader->line};
    if (n > 0 && s[n - 1] == '\r')
        ret_line->n--;
    reader->pos += n + (end != NULL);
    reader->line++;
    return true;
}

static bool is_blank(char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

static void trim_left(struct line *line)
{
    while (line->n > 0 && is_blank(*line->s)) {
        line->s++;
        line->n--;
        line->offset++;
    }
}

static bool is_comment_or_empty(struct line line)
{
    trim_left(&line);
    return line.n == 0 || *line.s == '#';
}

/* Cuts the escape character at the line's end off; whether there was one. */
static bool trim_continuation(struct line *line, char escape)
{
    size_t n = line->n;
    while (n > 0 && (line->s[n - 1] == ' ' || line->s[n - 1] == '\t'))
        n--;
    if (n == 0 || line->s[n - 1] != escape)
        return false;
    line->n = n - 1;
    return true;
}

/* The value of a directive (`# name = value`) in a comment line; false when it is none. */
static bool directive(struct line line, char name[32], struct line *ret_value)
{
    trim_left(&line);
    if (line.n == 0 || *line.s != '#')
        return false;
    line.s++;
    line.n--;
    trim_left(&line);
    size_t length = 0;
    while (length < line.n && isalnum((unsigned char)line.s[length]) && length < 31) {
        name[length] = (char)tolower((unsigned char)line.s[length]);
        length++;
    }
    name[length] = '\0';
    line.s += length;
    line.n -= length;
    trim_left(&line);
    if (length == 0 || line.n == 0 || *line.s != '=')
        return false;
    line.s++;
    line.n--;
    trim_left(&line);
    *ret_value = line;
    return true;
}

/* Reads the directives before everything else; stops at the first line that is none. */
static int read_directives(struct dockerfile *dockerfile, struct reader *reader, struct err *err)
{
    struct reader ahead = *reader;
    struct line line, value;
    char name[32];
    bool escape_seen = false;
    while (next_line(&ahead, &line) && directive(line, name, &value)) {
        *reader = ahead;
        if (!str_eq(name, "escape"))
            continue;
        while (value.n > 0 && is_blank(value.s[value.n - 1]))
            value.n--;
        if (value.n != 1 || (*value.s != '\\' && *value.s != '`'))
            return err_set(err, -EINVAL, "line %d: escape must be \\ or `", line.number);
        if (escape_seen)
            return err_set(err, -EINVAL, "line %d: escape is given twice", line.number);
        escape_seen = true;
        dockerfile->escape = *value.s;
    }
    return 0;
}

static void add_piece(struct df_instruction *instruction, struct strbuf *text,
                      const struct line *line)
{
    if (line->n > 0)
        vec_push(&instruction->pieces, (struct df_piece){text->n, line->offset});
    strbuf_addn(text, line->s, line->n);
}

/* Joins the line and its continuations. */
static void read_instruction(const struct dockerfile *dockerfile, struct reader *reader,
                             struct line line, struct df_instruction *instruction)
{
    struct strbuf text = {0};
    instruction->line = line.number;
    trim_left(&line);
    bool more = trim_continuation(&line, dockerfile->escape);
    add_piece(instruction, &text, &line);
    while (more && next_line(reader, &line)) {
        if (is_comment_or_empty(line))
            continue;
        more = trim_continuation(&line, dockerfile->escape);
        add_piece(instruction, &text, &line);
    }
    while (text.n > 0 && is_blank(text.s[text.n - 1]))
        text.s[--text.n] = '\0';
    instruction->n = text.n;
    instruction->text = strbuf_steal(&text);
}

static int find_keyword(struct df_instruction *instruction, struct err *err)
{
    size_t n = 0;
    while (n < instruction->n && !is_blank(instruction->text[n]))
        n++;
    instruction->args = n;
    while (instruction->args < instruction->n && is_blank(instruction->text[instruction->args]))
        instruction->args++;
    for (int k = 0; k < DF_KEYWORD_COUNT; k++) {
        if (!df_span_is(instruction->text, (struct df_span){0, n}, keyword_names[k]))
            continue;
        instruction->keyword = (enum df_keyword)k;
        return 0;
    }
    cleanup_free char *word = xstrndup(instruction->text, n < 40 ? n : 40);
    const char *nearest = nearest_word(word, keyword_names, DF_KEYWORD_COUNT);
    return err_set(err, -EINVAL, "line %d: '%s' is no instruction%s%s", instruction->line, word,
                   nearest ? "; write " : "", nearest ? nearest : "");
}

/* The name after `<<` or `<<-` (with digits before it) when the word opens a heredoc; else NULL. The
 * caller owns it. */
static char *heredoc_name(const char *word, size_t n, bool *ret_chomp)
{
    size_t i = 0;
    while (i < n && isdigit((unsigned char)word[i]))
        i++;
    if (n - i < 3 || word[i] != '<' || word[i + 1] != '<')
        return NULL;
    i += 2;
    *ret_chomp = word[i] == '-';
    i += *ret_chomp;
    if (i < n && (word[i] == '"' || word[i] == '\'')) {
        if (n - i < 3 || word[n - 1] != word[i])
            return NULL;
        i++;
        n--;
    }
    if (i >= n || !(isalpha((unsigned char)word[i]) || word[i] == '_'))
        return NULL; /* a shift such as $((1 <<2)) */
    for (size_t k = i; k < n; k++) {
        if (!isalnum((unsigned char)word[k]) && !strchr("_.-", word[k]))
            return NULL;
    }
    return xstrndup(word + i, n - i);
}

static int skip_heredoc(struct reader *reader, const char *name, bool chomp, int line_number,
                        struct err *err)
{
    struct line line;
    size_t n = strlen(name);
    while (next_line(reader, &line)) {
        while (chomp && line.n > 0 && *line.s == '\t') {
            line.s++;
            line.n--;
        }
        if (line.n == n && memcmp(line.s, name, n) == 0)
            return 0;
    }
    return err_set(err, -EINVAL, "line %d: the heredoc %s is not closed", line_number, name);
}

/* Whether the instruction, or the one within ONBUILD, may open heredocs. */
static bool takes_heredocs(const struct df_instruction *instruction)
{
    size_t args = instruction->args;
    bool takes = instruction->keyword == DF_RUN || instruction->keyword == DF_COPY ||
                 instruction->keyword == DF_ADD || instruction->keyword == DF_ONBUILD;
    return takes && instruction->text[args] != '[';
}

static int skip_heredocs(struct dockerfile *dockerfile, struct reader *reader,
                         const struct df_instruction *instruction, struct err *err)
{
    struct df_span word;
    size_t pos = instruction->args;
    bool noted = false;
    if (!takes_heredocs(instruction))
        return 0;
    while (df_next_word(instruction->text, instruction->n, dockerfile->escape, &pos, &word)) {
        bool chomp;
        cleanup_free char *name =
            heredoc_name(instruction->text + word.start, word.end - word.start, &chomp);
        if (!name)
            continue;
        if (!noted)
            df_note(dockerfile, (struct dockerfile_feature){
                                    "a heredoc", "a RUN with && and \\ or a file in the context",
                                    instruction->line, -1, 1033});
        noted = true;
        int r = skip_heredoc(reader, name, chomp, instruction->line, err);
        if (r < 0)
            return r;
    }
    return 0;
}

static bool valid_stage_name(const char *name)
{
    if (!isalpha((unsigned char)*name) || strcasecmp(name, "scratch") == 0)
        return false;
    for (const char *c = name; *c; c++) {
        if (!isalnum((unsigned char)*c) && !strchr("-_.", *c))
            return false;
    }
    return true;
}

/* The stage named by AS: it must be a name, and new. */
static int name_stage(struct dockerfile *dockerfile, const struct df_instruction *from,
                      struct df_span word, struct df_stage *stage, struct err *err)
{
    cleanup_free char *name = xstrndup(from->text + word.start, word.end - word.start);
    if (!valid_stage_name(name))
        return err_set(err, -EINVAL, "line %d: '%.60s' is no name for a stage", from->line, name);
    VEC_FOREACH (&dockerfile->stages, other) {
        if (other->name && strcasecmp(other->name, name) == 0)
            return err_set(err, -EINVAL, "line %d: the stage '%s' is there already, from line %d",
                           from->line, name, dockerfile->instructions.items[other->from].line);
    }
    stage->name = steal_ptr(name);
    return 0;
}

static int parse_from_words(struct dockerfile *dockerfile, const struct df_instruction *from,
                            size_t pos, struct df_stage *stage, struct err *err)
{
    struct df_span words[4];
    size_t n = 0;
    while (n < 4 && df_next_word(from->text, from->n, dockerfile->escape, &pos, &words[n]))
        n++;
    if (n != 1 && !(n == 3 && df_span_is(from->text, words[1], "AS")))
        return err_set(err, -EINVAL, "line %d: write FROM IMAGE or FROM IMAGE AS NAME", from->line);
    stage->image = words[0];
    return n == 3 ? name_stage(dockerfile, from, words[2], stage, err) : 0;
}

static int begin_stage(struct dockerfile *dockerfile, const struct df_instruction *from,
                       struct err *err)
{
    struct df_stage stage = {.from = dockerfile->instructions.n};
    struct df_span word, name, value;
    size_t pos = from->args;
    if (dockerfile->stages.n == DOCKERFILE_STAGES_MAX)
        return err_set(err, -E2BIG, "line %d: more than %d stages", from->line,
                       DOCKERFILE_STAGES_MAX);
    while (df_next_flag(from, dockerfile->escape, &pos, &word, &name, &value)) {
        if (!df_span_is(from->text, name, "platform"))
            return err_set(err, -EINVAL, "line %d: FROM knows no flag but --platform", from->line);
        if (stage.platform_flag.end)
            return err_set(err, -EINVAL, "line %d: --platform is given twice", from->line);
        stage.platform_flag = word;
        stage.platform_value = value;
    }
    int r = parse_from_words(dockerfile, from, pos, &stage, err);
    if (r == 0)
        vec_push(&dockerfile->stages, stage);
    return r;
}

static int place_instruction(struct dockerfile *dockerfile, struct df_instruction *instruction,
                             struct err *err)
{
    int r = find_keyword(instruction, err);
    if (r < 0)
        return r;
    if (dockerfile->instructions.n == DOCKERFILE_INSTRUCTIONS_MAX)
        return err_set(err, -E2BIG, "line %d: more than %d instructions", instruction->line,
                       DOCKERFILE_INSTRUCTIONS_MAX);
    if (instruction->keyword == DF_FROM)
        r = begin_stage(dockerfile, instruction, err);
    else if (dockerfile->stages.n == 0 && instruction->keyword != DF_ARG)
        r = err_set(err, -EINVAL, "line %d: %s before the first FROM", instruction->line,
                    keyword_names[instruction->keyword]);
    instruction->stage = (int)dockerfile->stages.n - 1;
    return r;
}

static void instruction_done(struct df_instruction *instruction)
{
    free(instruction->text);
    vec_free(&instruction->pieces);
}

static int parse_instruction(struct dockerfile *dockerfile, struct reader *reader,
                             const struct line *line, struct err *err)
{
    struct df_instruction instruction = {0};
    read_instruction(dockerfile, reader, *line, &instruction);
    if (instruction.n == 0) { /* nothing but continuations */
        instruction_done(&instruction);
        return 0;
    }
    int r = place_instruction(dockerfile, &instruction, err);
    if (r == 0)
        r = skip_heredocs(dockerfile, reader, &instruction, err);
    if (r < 0) {
        instruction_done(&instruction);
        return r;
    }
    df_note_features(dockerfile, &instruction);
    vec_push(&dockerfile->instructions, instruction);
    return 0;
}

/* Refuses what is too much, before anything is made of it. */
static int check_bounds(const char *text, size_t n, struct err *err)
{
    struct reader reader = {text, n, 0, 1};
    struct line line;
    while (next_line(&reader, &line)) {
        if (line.n > DOCKERFILE_LINE_MAX)
            return err_set(err, -E2BIG, "line %d: a line of %zu bytes, more than %d", line.number,
                           line.n, DOCKERFILE_LINE_MAX);
        if (memchr(line.s, '\0', line.n))
            return err_set(err, -EINVAL, "line %d: a NUL byte: this is no text", line.number);
    }
    if (n > DOCKERFILE_TEXT_MAX)
        return err_set(err, -E2BIG, "%zu bytes, more than %d", n, DOCKERFILE_TEXT_MAX);
    return 0;
}

static int parse_text(struct dockerfile *dockerfile, struct err *err)
{
    struct reader reader = {dockerfile->text, dockerfile->n, 0, 1};
    if (str_starts(dockerfile->text, "\xef\xbb\xbf"))
        reader.pos = 3;
    int r = read_directives(dockerfile, &reader, err);
    struct line line;
    while (r == 0 && next_line(&reader, &line)) {
        if (!is_comment_or_empty(line))
            r = parse_instruction(dockerfile, &reader, &line, err);
    }
    if (r == 0 && dockerfile->stages.n == 0)
        return err_set(err, -EINVAL, "line %d: no FROM", reader.line > 1 ? reader.line - 1 : 1);
    return r;
}

int dockerfile_parse(const char *text, size_t n, struct dockerfile **ret_dockerfile,
                     struct err *err)
{
    int r = check_bounds(text, n, err);
    if (r < 0)
        return r;
    cleanup_dockerfile struct dockerfile *dockerfile = xnew(struct dockerfile);
    dockerfile->text = xstrndup(text, n);
    dockerfile->n = n;
    dockerfile->escape = '\\';
    r = parse_text(dockerfile, err);
    if (r == 0)
        *ret_dockerfile = steal_ptr(dockerfile);
    return r;
}

void dockerfile_free(struct dockerfile *dockerfile)
{
    if (!dockerfile)
        return;
    VEC_FOREACH (&dockerfile->instructions, instruction)
        instruction_done(instruction);
    VEC_FOREACH (&dockerfile->stages, stage)
        free(stage->name);
    vec_free(&dockerfile->instructions);
    vec_free(&dockerfile->stages);
    vec_free(&dockerfile->features);
    free(dockerfile->text);
    free(dockerfile);
}
