#include "common/dockerfile.h"
#include "tests/lib/test.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

/* "name@line" of each reference, separated by blanks: '+' before COPY --from's, '%' before mounts',
 * "!" and the message on failure. */
static char *references(const char *text, const struct dockerfile_options *options, int *ret_base)
{
    cleanup_dockerfile struct dockerfile *dockerfile = NULL;
    cleanup_dockerfile_plan struct dockerfile_plan plan = {0};
    struct err err = ERR_INIT;
    if (dockerfile_parse(text, strlen(text), &dockerfile, &err) < 0 ||
        dockerfile_resolve(dockerfile, options, &plan, &err) < 0)
        return xasprintf("!%s", err.text);
    struct strbuf out = {0};
    VEC_FOREACH (&plan.references, reference) {
        static const char *const marks[] = {"", "+", "%"};
        strbuf_addf(&out, "%s%s%s@%d", out.n ? " " : "", marks[reference->kind], reference->name,
                    reference->line);
        if (reference->platform != options->platform)
            strbuf_addf(&out, "[%s]", platform_info(reference->platform)->name);
    }
    *ret_base = plan.base;
    return strbuf_steal(&out);
}

#define DEBIAN "docker.io/library/debian:bookworm"
#define ALPINE "docker.io/library/alpine:latest"

static void needed_images(void **state)
{
    static const struct {
        const char *text, *expected;
        int base;
    } cases[] = {
        {"FROM debian:bookworm\n", DEBIAN "@1", 0},
        {"from debian:bookworm", DEBIAN "@1", 0},
        {"FROM scratch\nADD alpine-minirootfs-3.20.3-armv7.tar.gz /\nCMD [\"/bin/sh\"]\n", "", -1},
        {"FROM bitnami/minideb:bookworm\n", "docker.io/bitnami/minideb:bookworm@1", 0},
        {"FROM 127.0.0.1:5000/osf/minideb\n", "127.0.0.1:5000/osf/minideb:latest@1", 0},
        {"# a comment\n\n  # another\nFROM alpine\n", ALPINE "@4", 0},
        /* stages */
        {"FROM alpine AS Build\nRUN x\nFROM scratch\nCOPY --from=build /a /b\n", ALPINE "@1", -1},
        {"FROM alpine AS a\nFROM a\n", ALPINE "@1", 0},
        {"FROM alpine AS a\nFROM A as b\nFROM b\n", ALPINE "@1", 0},
        {"FROM alpine\nFROM debian:bookworm\nCOPY --from=0 /a /b\n", ALPINE "@1 " DEBIAN "@2", 1},
        {"FROM alpine AS unused\nFROM debian:bookworm\n", DEBIAN "@2", 0},
        {"FROM debian:bookworm AS debian\nCOPY a b\nFROM debian\n", DEBIAN "@1", 0},
        {"FROM alpine AS a\nFROM scratch AS b\nCOPY --from=a / /\nFROM scratch\nADD --from=b / /\n",
         ALPINE "@1", -1},
        /* --from an image */
        {"FROM scratch\nCOPY --chown=1:1 --from=alpine /a /b\n", "+" ALPINE "@2", -1},
        {"FROM debian:bookworm\nCOPY --from=busybox:1@sha256:"
         "0000000000000000000000000000000000000000000000000000000000000000 /a /b\n",
         DEBIAN "@1 +docker.io/library/busybox:1@sha256:"
                "0000000000000000000000000000000000000000000000000000000000000000@2",
         0},
        {"FROM scratch\nCOPY --from=scratch / /\n", "", -1},
        {"FROM scratch\nCOPY a --from=alpine /b\n", "", -1},
        {"FROM scratch\nRUN --mount=type=bind,from=alpine,target=/x "
         "--mount=type=cache,target=/y --mount=from=debian:bookworm,target=/z ls --from=q\n",
         "%" ALPINE "@2 %" DEBIAN "@2", -1},
        {"FROM scratch\nRUN --mount=\"type=bind,from=alpine\" x\n", "%" ALPINE "@2", -1},
        {"FROM alpine AS a\nFROM scratch\nRUN --mount=from=a,target=/a x\n", ALPINE "@1", -1},
        /* variables */
        {"ARG B=debian:bookworm\nFROM $B\n", DEBIAN "@2", 0},
        {"ARG T=bookworm\nARG B=debian:${T}\nFROM ${B}\n", DEBIAN "@3", 0},
        {"FROM ${B:-debian:bookworm}\n", DEBIAN "@1", 0},
        {"FROM ${B-debian:bookworm}\n", DEBIAN "@1", 0},
        {"ARG B=\nFROM ${B:-debian:bookworm}\n", DEBIAN "@2", 0},
        {"ARG B=x\nFROM debian${B:+:bookworm}\n", DEBIAN "@2", 0},
        {"ARG B\nFROM ${B:-${C:-debian}}:bookworm\n", DEBIAN "@2", 0},
        {"ARG B='debian' C=\"book\"worm\nFROM \"$B\":${C}\n", DEBIAN "@2", 0},
        {"ARG GIVEN=nothing\nFROM $GIVEN\n", "docker.io/library/given:1@2", 0},
        {"ARG GIVEN\nFROM $GIVEN\n", "docker.io/library/given:1@2", 0},
        {"ARG S=a\nFROM alpine AS a\nFROM scratch\nARG S\nCOPY --from=$S /a /b\n", ALPINE "@2", -1},
        {"FROM scratch\nARG I=alpine\nENV I=debian:bookworm\nARG I=x\nCOPY --from=$I / /\n",
         "+" DEBIAN "@5", -1},
        {"FROM scratch\nENV I debian:bookworm\nCOPY --from=$I / /\n", "+" DEBIAN "@3", -1},
        {"FROM scratch AS a\nENV I=alpine\nFROM a\nCOPY --from=${I} / /\n", "+" ALPINE "@4", -1},
        {"FROM scratch AS a\nARG I=alpine\nFROM a\nCOPY --from=${I} / /\n", "+" ALPINE "@4", -1},
        {"FROM alpine:$TARGETARCH$TARGETVARIANT\n", "docker.io/library/alpine:armv7@1", 0},
        {"ARG TARGETARCH\nFROM scratch AS s-arm\nCOPY a b\nFROM s-${TARGETARCH}\n", "", -1},
        {"FROM --platform=$BUILDPLATFORM alpine\n", ALPINE "@1", 0},
        {"FROM --platform=linux/amd64 alpine AS x\nFROM scratch\nCOPY --from=x / /\n",
         ALPINE "@1[linux/amd64]", -1},
        {"FROM scratch\nENV BIG=${X#y}\nCOPY a b\n", "", -1},
        /* how it is written */
        {"FROM \\\n# comment\n\n   # another\n  debian:bookworm\n", DEBIAN "@1", 0},
        {"FROM deb\\\nian:book\\\nworm\n", DEBIAN "@1", 0},
        {"# escape=`\nFROM `\n debian:bookworm\nCOPY a `\n C:\\\n", DEBIAN "@2", 0},
        {"#syntax=docker/dockerfile:1\n# Escape = `\nFROM `\ndebian:bookworm\n", DEBIAN "@3", 0},
        {"# plain comment\n# escape=`\nFROM alpine\nRUN a \\\n b\n", ALPINE "@3", 0},
        {"\xef\xbb\xbf"
         "FROM debian:bookworm\r\nRUN a \\\r\n  b\r\n",
         DEBIAN "@1", 0},
        {"FROM alpine\nRUN echo \\\nFROM debian:bookworm\n", ALPINE "@1", 0},
        {"FROM alpine\nRUN a \\\n", ALPINE "@1", 0},
        {"\\\n\nFROM alpine\n", ALPINE "@1", 0},
        /* heredocs */
        {"FROM alpine\nRUN <<EOF\nFROM debian\nEOF\nCOPY <<-\"A B\" /x\n", ALPINE "@1", 0},
        {"FROM alpine\nCOPY <<-a.b <<'c' /x/\nFROM x\n\ta.b\nFROM y\nc\nRUN --mount=from=q:1 x\n",
         ALPINE "@1 %docker.io/library/q:1@7", 0},
        {"FROM alpine\nRUN echo \"<<EOF\" $((1 <<2)) <<<EOF\nCOPY --from=q:1 / /\n",
         ALPINE "@1 +docker.io/library/q:1@3", 0},
        {"FROM alpine\nRUN [\"<<EOF\"]\nCOPY --from=q:1 / /\n",
         ALPINE "@1 +docker.io/library/q:1@3", 0},
        /* ONBUILD is for others */
        {"FROM alpine\nONBUILD COPY --from=q:1 / /\n", ALPINE "@1", 0},
    };
    static const struct dockerfile_arg args[] = {{"GIVEN", "given:1"}};
    struct dockerfile_options options = {.platform = PLATFORM_ARM_V7, .args = args, .n_args = 1};
    for (size_t i = 0; i < COUNT(cases); i++) {
        int base = -2;
        cleanup_free char *got = references(cases[i].text, &options, &base);
        if (!str_eq(got, cases[i].expected))
            fail_msg("%s\n--- got      %s\n--- expected %s", cases[i].text, got, cases[i].expected);
        if (base != cases[i].base)
            fail_msg("%s\n--- base %d, expected %d", cases[i].text, base, cases[i].base);
    }
}

static void refused(void **state)
{
    static const struct {
        const char *text, *message; /* part of it */
    } cases[] = {
        {"", "line 1: no FROM"},
        {"# nothing\n\n", "line 2: no FROM"},
        {"RUN x\nFROM alpine\n", "line 1: RUN before the first FROM"},
        {"FROM alpine\nRNU x\n", "line 2: 'RNU' is no instruction; write RUN"},
        {"FROM\n", "line 1: write FROM IMAGE"},
        {"FROM a b\n", "line 1: write FROM IMAGE"},
        {"FROM a AS\n", "line 1: write FROM IMAGE"},
        {"FROM a AS b c\n", "line 1: write FROM IMAGE"},
        {"FROM a AS 1b\n", "line 1: '1b' is no name"},
        {"FROM a AS scratch\n", "line 1: 'scratch' is no name"},
        {"FROM a AS b\nFROM c AS B\n", "line 2: the stage 'B' is there already, from line 1"},
        {"FROM --foo=1 a\n", "line 1: FROM knows no flag but --platform"},
        {"FROM --platform=linux/arm --platform=linux/arm a\n", "--platform is given twice"},
        {"FROM --platform=linux/m68k a\n", "line 1: --platform: "},
        {"FROM --platform=$X a\n", "line 1: $X is empty"},
        {"FROM $NOPE\n", "line 1: $NOPE is empty; give the ARG a default"},
        {"ARG A=${X?no}\nFROM $A\n", "line 2: the value of A cannot be worked out"},
        {"FROM ${X?must-be-given}\n", "line 1: X is not set: must-be-given"},
        {"FROM ${X#y}\n", "line 1: ${X…} is not understood"},
        {"FROM ${X\n", "line 1: ${X is not closed"},
        {"FROM ${X:-y\n", "line 1: a ${ is not closed"},
        {"FROM \"a\n", "line 1: a \" is not closed"},
        {"FROM 'a\n", "line 1: a ' is not closed"},
        {"FROM ${}\n", "line 1: ${ without a name"},
        {"FROM Debian\n", "line 1: image reference \"Debian\""},
        {"FROM docker://debian\n", "line 1: image reference"},
        {"FROM oci:/etc\n", "line 1: image reference"},
        {"FROM a:b@sha256:12\n", "line 1: image reference"},
        {"FROM scratch\nCOPY --from=3 / /\n", "line 2: there is no stage 3"},
        {"FROM scratch\nCOPY --from=0 / /\n", "line 2: the stage '0' is not an earlier one"},
        {"FROM scratch\nCOPY --from=b / /\nFROM a AS b\n",
         "line 2: the stage 'b' is not an earlier"},
        {"FROM scratch\nCOPY --from= / /\n", "line 2:  is empty"},
        {"FROM a\nRUN <<EOF\nx\n", "line 2: the heredoc EOF is not closed"},
        {"# escape=x\nFROM a\n", "line 1: escape must be"},
        {"# escape=`\n# escape=`\nFROM a\n", "line 2: escape is given twice"},
    };
    struct dockerfile_options options = {.platform = PLATFORM_AMD64};
    for (size_t i = 0; i < COUNT(cases); i++) {
        int base;
        /* the last stage is the target: one that comes later is named from the first */
        options.target = strstr(cases[i].text, "--from=b") ? "0" : NULL;
        cleanup_free char *got = references(cases[i].text, &options, &base);
        if (got[0] != '!' || !strstr(got, cases[i].message))
            fail_msg("%s\n--- got      %s\n--- expected %s", cases[i].text, got, cases[i].message);
    }
}

static void targets(void **state)
{
    static const char text[] = "FROM alpine AS one\n"
                               "FROM debian:bookworm AS Two\n"
                               "FROM $NOWHERE AS three\n";
    static const struct {
        const char *target, *expected;
    } cases[] = {{"one", ALPINE "@1"},
                 {"two", DEBIAN "@2"},
                 {"1", DEBIAN "@2"},
                 {"tow", "!there is no stage 'tow'; write Two"},
                 {"7", "!there is no stage '7'"},
                 {"", "!line 3: $NOWHERE is empty; give the ARG a default or the image args:"}};
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct dockerfile_options options = {.platform = PLATFORM_AMD64, .target = cases[i].target};
        int base;
        cleanup_free char *got = references(text, &options, &base);
        assert_string_equal(got, cases[i].expected);
    }
}

static const char *local_name(const struct dockerfile_reference *reference, void *arg)
{
    char *buf = arg;
    if (strstr(reference->name, "missing"))
        return NULL;
    snprintf(buf, 64, "local/%d", reference->line);
    return buf;
}

static char *rewritten(const char *text, const char *target)
{
    cleanup_dockerfile struct dockerfile *dockerfile = NULL;
    cleanup_dockerfile_plan struct dockerfile_plan plan = {0};
    struct dockerfile_options options = {.platform = PLATFORM_AMD64, .target = target};
    struct err err = ERR_INIT;
    char name[64];
    char *out = NULL;
    if (dockerfile_parse(text, strlen(text), &dockerfile, &err) < 0 ||
        dockerfile_resolve(dockerfile, &options, &plan, &err) < 0 ||
        dockerfile_rewrite(dockerfile, &plan, local_name, name, &out, &err) < 0)
        return xasprintf("!%s", err.text);
    return out;
}

static void rewriting(void **state)
{
    static const struct {
        const char *text, *target, *expected;
    } cases[] = {
        {"FROM alpine\nRUN x\n", NULL, "FROM local/1\nRUN x\n"},
        {"from  alpine:3.20 as Q # no\n", NULL, "!line 1: write FROM IMAGE or FROM IMAGE AS NAME"},
        {"FROM scratch\nADD a /\n", NULL, "FROM scratch\nADD a /\n"},
        {"FROM --platform=$BUILDPLATFORM alpine AS b\nFROM B\n", NULL,
         "FROM  local/1 AS b\nFROM b\n"},
        {"ARG S=Bu\nFROM alpine AS bu\nFROM ${S}\nCOPY --from=BU /a /b\n", NULL,
         "ARG S=Bu\nFROM local/2 AS bu\nFROM bu\nCOPY --from=bu /a /b\n"},
        {"FROM \\\n # c\n deb\\\nian\nCOPY --from=\"busybox\" a b", NULL,
         "FROM \\\n # c\n local/1\nCOPY --from=local/5 a b"},
        {"FROM alpine\r\nRUN --mount=type=bind,target=/x,from=busybox,ro \\\r\n x\r\n", NULL,
         "FROM local/1\r\nRUN --mount=type=bind,target=/x,from=local/2,ro \\\r\n x\r\n"},
        {"FROM missing:1 AS gone\nFROM alpine\nFROM $NO\n", "1",
         "FROM scratch AS gone\nFROM local/2\nFROM scratch\n"},
        {"FROM missing:1\n", NULL, "!line 1: no local image for docker.io/library/missing:1"},
        {"\xef\xbb\xbf"
         "FROM alpine\n",
         NULL,
         "\xef\xbb\xbf"
         "FROM local/1\n"},
        {"FROM alpine\nFROM scratch\nCOPY --from=0 / /\nONBUILD COPY --from=q / /\n", NULL,
         "FROM local/1\nFROM scratch\nCOPY --from=0 / /\nONBUILD COPY --from=q / /\n"},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        cleanup_free char *got = rewritten(cases[i].text, cases[i].target);
        assert_string_equal(got, cases[i].expected);
    }
}

/* The message of dockerfile_check_buildah, "" when it can. */
static void check_buildah(const char *text, const char *version, struct err *err)
{
    cleanup_dockerfile struct dockerfile *dockerfile = NULL;
    cleanup_dockerfile_plan struct dockerfile_plan plan = {0};
    struct dockerfile_options options = {.platform = PLATFORM_AMD64};
    assert_int_equal(dockerfile_parse(text, strlen(text), &dockerfile, err), 0);
    assert_int_equal(dockerfile_resolve(dockerfile, &options, &plan, err), 0);
    int r = dockerfile_check_buildah(dockerfile, &plan, version, err);
    assert_int_equal(r, err->code);
}

static void features(void **state)
{
    static const struct {
        const char *text, *version, *message; /* NULL: fine */
    } cases[] = {
        {"FROM a\nCOPY --chmod=755 --chown=1 a b\nADD --chmod=1 a b\n", "1.28.2", NULL},
        {"FROM a\nRUN x\nCOPY --link a b\n", "1.28.2",
         "line 3: COPY --link: buildah 1.28.2 cannot"},
        {"FROM a\nCOPY --link=true a b\n", "1.28.2", "line 2: COPY --link"},
        {"FROM a\nCOPY --link a b\n", "1.41.0", NULL},
        {"FROM a AS x\nCOPY --link a b\nFROM b\n", "1.28.2", NULL},
        {"FROM a\nRUN <<EOF\nx\nEOF\n", "1.28.2", "line 2: a heredoc"},
        {"FROM a AS x\nRUN cat <<EOF\nx\nEOF\nFROM b\n", "1.28.2", "line 2: a heredoc"},
        {"FROM a\nRUN <<EOF\nx\nEOF\n", "1.33.0", NULL},
        {"FROM a\nCOPY --parents a b\n", "1.28.2", "COPY --parents"},
        {"FROM a\nCOPY --exclude=x a b\n", "1.28.2", "COPY --exclude"},
        {"FROM a\nADD --checksum=sha256:1 a b\n", "1.28.2", "ADD --checksum"},
        {"FROM a\nADD https://x.example/y.git#v1 b\n", "1.28.2", "ADD of a git repository"},
        {"FROM a\nADD https://x.example/y.tar b\n", "1.28.2", NULL},
        {"FROM a\nRUN --network=none x\n", "1.28.2", "RUN --network"},
        {"FROM a\nRUN --mount=type=cache,target=/x x\n", "1.28.2", NULL},
        {"FROM a\nRUN --mount=type=bnid,target=/x x\n", "1.50.0", "unknown type"},
        {"FROM a\nRUN --foo x\n", "1.50.0", "an unknown flag"},
        {"FROM a\nRUN x --foo\n", "1.28.2", NULL},
        {"FROM a\nHEALTHCHECK --start-interval=5s CMD x\n", "1.28.2", "--start-interval"},
        {"FROM a\nHEALTHCHECK --interval=5s CMD x\n", "1.28.2", NULL},
        {"FROM a\nENV A=${B#x}\n", "1.28.2", "line 2: a substitution"},
        {"FROM a\nENV A=${B:-x} C=${D}\nRUN echo ${X#y}\n", "1.28.2", NULL},
        {"FROM a\nCOPY --link a b\n", "unknown", NULL},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct err err = ERR_INIT;
        check_buildah(cases[i].text, cases[i].version, &err);
        if (cases[i].message ? !strstr(err.text, cases[i].message) : err.code != 0)
            fail_msg("%s\n--- %s: '%s'", cases[i].text, cases[i].version, err.text);
    }
}

static void feature_list(void **state)
{
    static const char text[] = "FROM a\nCOPY --link --chmod=1 a b\nRUN <<A <<B\nA\nB\n";
    cleanup_dockerfile struct dockerfile *dockerfile = NULL;
    assert_int_equal(dockerfile_parse(text, strlen(text), &dockerfile, NULL), 0);
    size_t n;
    const struct dockerfile_feature *list = dockerfile_features(dockerfile, &n);
    assert_int_equal(n, 3);
    assert_string_equal(list[0].what, "COPY --link");
    assert_string_equal(list[1].what, "COPY --chmod");
    assert_string_equal(list[2].what, "a heredoc");
    assert_int_equal(list[2].line, 3);
}

static int parse_status(const char *text, size_t n, struct err *err)
{
    cleanup_dockerfile struct dockerfile *dockerfile = NULL;
    return dockerfile_parse(text, n, &dockerfile, err);
}

static void bounds(void **state)
{
    size_t n = 5 * 1024 * 1024;
    cleanup_free char *text = xcalloc(n + 1, 1);
    struct err err = ERR_INIT;
    memset(text, 'x', n);
    memcpy(text, "FROM a\nRUN ", 11);
    assert_int_equal(parse_status(text, n, &err), -E2BIG);
    assert_string_equal(err.text, "line 2: a line of 5242873 bytes, more than 65535");
    for (size_t i = 7; i < n; i += 100)
        text[i] = '\n';
    assert_int_equal(parse_status(text, n, &err), -E2BIG);
    assert_string_equal(err.text, "5242880 bytes, more than 1048576");
    assert_int_equal(parse_status("FROM a\nRUN \0x\n", 14, &err), -EINVAL);
    assert_string_equal(err.text, "line 2: a NUL byte: this is no text");
}

static void many(const char *piece, size_t times, struct strbuf *out)
{
    for (size_t i = 0; i < times; i++)
        strbuf_add(out, piece);
}

/* Nothing that a hostile file holds takes long or grows without bound. */
static void hostile(void **state)
{
    struct err err = ERR_INIT;
    cleanup_strbuf struct strbuf stages = {0}, steps = {0}, nested = {0}, bomb = {0};
    many("FROM a\n", DOCKERFILE_STAGES_MAX + 1, &stages);
    assert_int_equal(parse_status(stages.s, stages.n, &err), -E2BIG);
    strbuf_add(&steps, "FROM a\n");
    many("RUN x\n", DOCKERFILE_INSTRUCTIONS_MAX, &steps);
    assert_int_equal(parse_status(steps.s, steps.n, &err), -E2BIG);

    struct dockerfile_options options = {.platform = PLATFORM_AMD64};
    int base;
    strbuf_add(&nested, "FROM ");
    many("${A:-", 1000, &nested);
    cleanup_free char *deep = references(nested.s, &options, &base);
    assert_non_null(strstr(deep, "nested more than"));

    strbuf_add(&bomb, "ARG A=0123456789\n");
    many("ARG A=$A$A$A$A$A$A$A$A\n", 1000, &bomb);
    many("ARG B=$A$A$A$A$A$A$A$A\n", 1000, &bomb);
    strbuf_add(&bomb, "FROM $A\n");
    cleanup_free char *big = references(bomb.s, &options, &base);
    assert_string_equal(big, "!line 2002: the value of A cannot be worked out");
}

/* Dockerfiles as the world writes them. */
static void real_ones(void **state)
{
    static const struct {
        const char *text, *expected;
    } cases[] = {
        /* docker-alpine's tool image */
        {"FROM alpine:3.16\nRUN apk add --no-cache lua5.3 lua-filesystem lua-lyaml lua-http\n"
         "COPY fetch-latest-releases.lua /usr/local/bin\nVOLUME /out\n"
         "ENTRYPOINT [ \"/usr/local/bin/fetch-latest-releases.lua\" ]\n",
         "docker.io/library/alpine:3.16@1"},
        /* built on minideb */
        {"FROM bitnami/minideb:bookworm\n\nLABEL org.opencontainers.image.title=\"x \\\n  y\"\n"
         "ENV HOME=\"/\" \\\n    OS_ARCH=\"${TARGETARCH:-amd64}\" \\\n    OS_FLAVOUR=debian-12\n"
         "SHELL [\"/bin/bash\", \"-o\", \"errexit\", \"-c\"]\n"
         "# Install required system packages\nRUN install_packages ca-certificates curl\n"
         "RUN mkdir -p /tmp/x && cd /tmp/x && \\\n    COMPONENTS=( \\\n      "
         "\"a-1-linux-${OS_ARCH}\" \\\n"
         "    ) && \\\n    for C in \"${COMPONENTS[@]}\"; do \\\n      echo \"${C}\" ; \\\n    "
         "done\n"
         "USER 1001\nCMD [ \"node\" ]\n",
         "docker.io/bitnami/minideb:bookworm@1"},
        /* a cross build */
        {"# syntax=docker/dockerfile:1\nARG GO=1.22\n"
         "FROM --platform=$BUILDPLATFORM golang:${GO}-bookworm AS build\nARG TARGETARCH\n"
         "RUN --mount=type=cache,target=/root/.cache GOARCH=$TARGETARCH go build -o /x .\n"
         "FROM gcr.io/distroless/static:nonroot\nCOPY --from=build /x /x\nENTRYPOINT [\"/x\"]\n",
         "docker.io/library/golang:1.22-bookworm@3 gcr.io/distroless/static:nonroot@6"},
    };
    struct dockerfile_options options = {.platform = PLATFORM_ARM64};
    for (size_t i = 0; i < COUNT(cases); i++) {
        int base;
        cleanup_free char *got = references(cases[i].text, &options, &base);
        assert_string_equal(got, cases[i].expected);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(needed_images), cmocka_unit_test(refused),  cmocka_unit_test(targets),
        cmocka_unit_test(rewriting),     cmocka_unit_test(features), cmocka_unit_test(feature_list),
        cmocka_unit_test(bounds),        cmocka_unit_test(hostile),  cmocka_unit_test(real_ones)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
