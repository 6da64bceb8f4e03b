#include "ctl/format.h"

#include "common/mem.h"

#include <inttypes.h>

/* "2 h 5 min", and "2 h" where the smaller part is nought. */
static void two_parts(int64_t whole, const char *unit, int64_t part, const char *part_unit,
                      char buf[FORMAT_MAX])
{
    int n = snprintf(buf, FORMAT_MAX, "%" PRId64 " %s", whole, unit);
    if (part)
        snprintf(buf + n, FORMAT_MAX - (size_t)n, " %" PRId64 " %s", part, part_unit);
}

const char *format_duration(int64_t ms, char buf[FORMAT_MAX])
{
    int64_t s = ms / 1000, min = s / 60, h = min / 60;
    if (ms < 0)
        return "-";
    if (ms < 1000)
        two_parts(ms, "ms", 0, "", buf);
    else if (s < 60)
        two_parts(s, "s", 0, "", buf);
    else if (min < 60)
        two_parts(min, "min", s % 60, "s", buf);
    else if (h < 48)
        two_parts(h, "h", min % 60, "min", buf);
    else
        two_parts(h / 24, "d", h % 24, "h", buf);
    return buf;
}

const char *format_ago(int64_t at, int64_t now, char buf[FORMAT_MAX])
{
    if (at <= 0)
        return "-";
    if (now - at < 1000)
        return "now";
    char span[FORMAT_MAX];
    int64_t s = (now - at) / 1000;
    if (s >= 60 && s < 3600) /* the smaller part is noise in a time that goes on */
        format_duration(s / 60 * 60000, span);
    else if (s >= 48 * 3600)
        format_duration(s / 86400 * 86400000, span);
    else
        format_duration(now - at, span);
    snprintf(buf, FORMAT_MAX, "%.50s ago", span);
    return buf;
}

const char *format_size(int64_t bytes, char buf[FORMAT_MAX])
{
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB"};
    if (bytes < 0)
        return "-";
    double v = (double)bytes;
    size_t unit = 0;
    while (v >= 1024 && unit < 4) {
        v /= 1024;
        unit++;
    }
    snprintf(buf, FORMAT_MAX, unit ? "%.1f %s" : "%.0f %s", v, units[unit]);
    return buf;
}

const char *format_digest(const char *digest, char buf[FORMAT_MAX])
{
    const char *hex = strchr(digest, ':');
    hex = hex ? hex + 1 : digest;
    if (!*hex)
        return "-";
    snprintf(buf, FORMAT_MAX, "%.12s", hex);
    return buf;
}

const char *short_ref(const char *ref)
{
    if (str_starts(ref, "refs/heads/"))
        return ref + strlen("refs/heads/");
    return str_starts(ref, "refs/tags/") ? ref + strlen("refs/tags/") : ref;
}

const char *short_platform(const char *platform)
{
    return str_starts(platform, "linux/") ? platform + strlen("linux/") : platform;
}

enum ink state_ink(const char *state)
{
    static const struct {
        const char *state;
        enum ink ink;
    } inks[] = {
        {"published", INK_GREEN}, {"succeeded", INK_GREEN}, {"unchanged", INK_GREEN},
        {"online", INK_GREEN},    {"ok", INK_GREEN},        {"building", INK_BLUE},
        {"running", INK_BLUE},    {"publishing", INK_BLUE}, {"leased", INK_BLUE},
        {"granted", INK_BLUE},    {"polling", INK_BLUE},    {"waiting", INK_YELLOW},
        {"wanted", INK_YELLOW},   {"held", INK_YELLOW},     {"joining", INK_YELLOW},
        {"draining", INK_YELLOW}, {"lost", INK_YELLOW},     {"failed", INK_RED},
        {"blocked", INK_RED},     {"conflict", INK_RED},    {"offline", INK_RED},
        {"failing", INK_RED},     {"quarantined", INK_RED}, {"cancelled", INK_DIM},
        {"superseded", INK_DIM},  {"dormant", INK_DIM},     {"retired", INK_DIM},
        {"deleted", INK_DIM},     {"unknown", INK_DIM},     {"not-offered", INK_DIM},
        {"new", INK_DIM},
    };
    for (size_t i = 0; i < sizeof(inks) / sizeof(*inks); i++)
        if (strcmp(inks[i].state, state) == 0)
            return inks[i].ink;
    return INK_PLAIN;
}
