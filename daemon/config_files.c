/* From paths to parsed documents: reading, YAML, includes, copies. */
#include "daemon/config_int.h"

#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <jansson.h>
#include <libgen.h>
#include <limits.h>
#include <sys/stat.h>

/* The files being read, from the first to the one at hand: an include of one of these is a cycle. */
struct chain {
    const struct chain *above;
    const struct config_file *file;
    dev_t device;
    ino_t inode;
};

static void open_file(struct config *c, const char *path, const struct chain *above,
                      const struct config_value *from);

/* Notes an error about an include, or about the first file. */
static void file_error(struct config *c, const struct config_value *from, const char *path,
                       const char *text)
{
    if (from)
        config_error(c, from, "%s: %s", path, text);
    else
        config_error_at(c, path, 0, 0, "file", "%s", text);
}

/* Reads at most CONFIG_FILE_MAX bytes. */
static int read_text(int fd, char **ret_text, struct err *err)
{
    cleanup_strbuf struct strbuf text = {0};
    char block[16384];
    ssize_t n;
    while ((n = read(fd, block, sizeof(block))) > 0) {
        strbuf_addn(&text, block, (size_t)n);
        if (text.n > CONFIG_FILE_MAX)
            return err_set(err, -E2BIG,
                           "more than %d bytes; split it with include:", CONFIG_FILE_MAX);
    }
    if (n < 0)
        return err_errno(err, -errno, "cannot be read");
    if (memchr(strbuf_str(&text), 0, text.n))
        return err_set(err, -EINVAL, "a NUL byte: this is no text");
    *ret_text = strbuf_steal(&text);
    return 0;
}

static void yaml_error(struct config *c, struct config_file *file, const yaml_parser_t *parser)
{
    const yaml_mark_t *mark = &parser->problem_mark;
    config_error_at(c, file->path, mark->line, mark->column, "yaml", "%s%s%s",
                    parser->problem ? parser->problem : "cannot be parsed",
                    parser->context ? " " : "", parser->context ? parser->context : "");
}

/* The parser must be at its end: farm.yaml is one document. */
static void refuse_second_document(struct config *c, struct config_file *file,
                                   yaml_parser_t *parser)
{
    yaml_document_t second;
    if (!yaml_parser_load(parser, &second)) {
        yaml_error(c, file, parser);
        return;
    }
    yaml_node_t *root = yaml_document_get_root_node(&second);
    if (root)
        config_error_at(c, file->path, root->start_mark.line, root->start_mark.column, "yaml",
                        "a second document; leave the '---' out");
    yaml_document_delete(&second);
}

static bool parse_text(struct config *c, struct config_file *file)
{
    yaml_parser_t parser;
    if (!yaml_parser_initialize(&parser))
        abort();
    const char *text = file->text;
    text += str_starts(text, "\xef\xbb\xbf") ? 3 : 0;
    yaml_parser_set_encoding(&parser, YAML_UTF8_ENCODING);
    yaml_parser_set_input_string(&parser, (const unsigned char *)text, strlen(text));
    file->has_document = yaml_parser_load(&parser, &file->document);
    if (!file->has_document)
        yaml_error(c, file, &parser);
    else if (yaml_document_get_root_node(&file->document))
        refuse_second_document(c, file, &parser);
    yaml_parser_delete(&parser);
    return file->has_document;
}

bool config_root(struct config_file *file, struct config_value *ret_value)
{
    if (!file->has_document)
        return false;
    *ret_value = (struct config_value){file, yaml_document_get_root_node(&file->document)};
    return ret_value->node != NULL;
}

/* Adds a file with this text (taken over); NULL when it does not parse. */
static struct config_file *add_file(struct config *c, const char *path, char *text)
{
    struct config_file *file = xnew(struct config_file);
    file->path = xstrdup(path);
    file->text = text;
    vec_push(&c->files, file);
    return parse_text(c, file) ? file : NULL;
}

/* A path beside the including file, unless it is absolute. The caller owns it. */
static char *beside(const char *file, const char *path)
{
    const char *slash = strrchr(file, '/');
    if (*path == '/' || !slash)
        return xstrdup(path);
    return xasprintf("%.*s/%s", (int)(slash - file), file, path);
}

static void include_pattern(struct config *c, const struct chain *chain,
                            const struct config_value *v)
{
    const char *text = config_text(c, v);
    if (!text)
        return;
    cleanup_free char *pattern = beside(chain->file->path, text);
    glob_t found = {0};
    int r = glob(pattern, GLOB_ERR, NULL, &found);
    if (r == GLOB_NOMATCH && !strpbrk(text, "*?["))
        file_error(c, v, pattern, "no such file");
    else if (r != 0 && r != GLOB_NOMATCH)
        file_error(c, v, pattern, "cannot be looked for");
    for (size_t i = 0; r == 0 && i < found.gl_pathc; i++)
        open_file(c, found.gl_pathv[i], chain, v);
    globfree(&found);
}

static void include_all(struct config *c, const struct chain *chain, const struct config_value *v)
{
    size_t n;
    if (v->node->type != YAML_SEQUENCE_NODE) {
        include_pattern(c, chain, v);
        return;
    }
    const yaml_node_item_t *items = config_items(c, v, &n);
    for (size_t i = 0; i < n; i++) {
        struct config_value item = config_item(v, items[i]);
        include_pattern(c, chain, &item);
    }
}

static void follow_includes(struct config *c, const struct chain *chain)
{
    struct config_value root, include;
    if (!config_root(c->files.items[c->files.n - 1], &root) ||
        !config_child(&root, "include", &include))
        return;
    bool first = c->key.n == 0; /* an included file's includes are its own */
    size_t mark = first ? config_key_push(c, "include") : c->key.n;
    include_all(c, chain, &include);
    config_key_pop(c, mark);
}

/* The chain as "a.yaml -> b.yaml"; the caller owns it. */
static char *chain_text(const struct chain *chain, const char *last)
{
    struct strbuf out = {0};
    const struct config_file *files[CONFIG_DEPTH_MAX + 1];
    size_t n = 0;
    for (; chain && n <= CONFIG_DEPTH_MAX; chain = chain->above)
        files[n++] = chain->file;
    while (n > 0)
        strbuf_addf(&out, "%s -> ", files[--n]->path);
    strbuf_add(&out, last);
    return strbuf_steal(&out);
}

/* Whether the file may be read at this place: no cycle, not too deep, not too many. */
static bool may_open(struct config *c, const struct chain *above, const char *path,
                     const struct stat *st, const struct config_value *from)
{
    size_t depth = 0;
    for (const struct chain *at = above; at; at = at->above, depth++) {
        if (at->device != st->st_dev || at->inode != st->st_ino)
            continue;
        cleanup_free char *names = chain_text(above, path);
        cleanup_free char *text = xasprintf("a cycle of includes: %s; leave this one out", names);
        file_error(c, from, path, text);
        return false;
    }
    if (depth < CONFIG_DEPTH_MAX && c->files.n < CONFIG_FILES_MAX)
        return true;
    file_error(c, from, path, "too many files, or too deep");
    return false;
}

static void open_file(struct config *c, const char *path, const struct chain *above,
                      const struct config_value *from)
{
    cleanup_close int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    struct stat st;
    struct err err = ERR_INIT;
    char *text;
    if (fd < 0 || fstat(fd, &st) < 0) {
        file_error(c, from, path, strerror(errno));
        return;
    }
    if (!may_open(c, above, path, &st, from))
        return;
    if (read_text(fd, &text, &err) < 0) {
        file_error(c, from, path, err.text);
        return;
    }
    struct chain chain = {above, add_file(c, path, text), st.st_dev, st.st_ino};
    if (chain.file)
        follow_includes(c, &chain);
}

void config_open(struct config *c, const char *path)
{
    open_file(c, path, NULL, NULL);
}

int config_open_copy(struct config *c, const char *copy, struct err *err)
{
    json_error_t why;
    json_t *files = json_loads(copy, 0, &why), *file;
    size_t i;
    if (!json_is_array(files)) {
        json_decref(files);
        return err_set(err, -EINVAL, "the copy of the configuration is damaged");
    }
    json_array_foreach (files, i, file) {
        const char *path = json_string_value(json_object_get(file, "path"));
        const char *text = json_string_value(json_object_get(file, "text"));
        if (path && text)
            add_file(c, path, xstrdup(text));
    }
    json_decref(files);
    return 0;
}

char *config_make_copy(const struct config *c)
{
    json_t *files = json_array();
    VEC_FOREACH (&c->files, file)
        json_array_append_new(files,
                              json_pack("{ss ss}", "path", (*file)->path, "text", (*file)->text));
    char *text = json_array_size(files) == c->files.n ? json_dumps(files, JSON_COMPACT) : NULL;
    json_decref(files);
    return text;
}

void config_close(struct config *c)
{
    VEC_FOREACH (&c->files, at) {
        struct config_file *file = *at;
        if (file->has_document)
            yaml_document_delete(&file->document);
        free(file->path);
        free(file->text);
        free(file);
    }
    vec_free(&c->files);
}
