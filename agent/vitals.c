#include "agent/vitals.h"

#include "common/mem.h"

#include <dirent.h>
#include <fcntl.h>
#include <math.h>
#include <sys/statvfs.h>

/* A small file's text into buf; 0 bytes when there is none. */
static void slurp(const char *path, char *buf, size_t size)
{
    cleanup_close int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd >= 0 ? read(fd, buf, size - 1) : 0;
    buf[n > 0 ? n : 0] = '\0';
}

static double zone_temperature(const char *thermal, const char *zone)
{
    char text[32];
    cleanup_free char *path = xasprintf("%s/%s/temp", thermal, zone);
    slurp(path, text, sizeof(text));
    char *end = text;
    double degrees = (double)strtol(text, &end, 10) / 1000;
    /* sensors that are switched off report things like -274 */
    return end == text || degrees < -100 || degrees > 200 ? NAN : degrees;
}

static double hottest(const char *thermal)
{
    double most = NAN;
    DIR *dir = opendir(thermal);
    if (!dir)
        return most;
    for (struct dirent *e; (e = readdir(dir));)
        if (str_starts(e->d_name, "thermal_zone")) {
            double one = zone_temperature(thermal, e->d_name);
            if (isnan(most) || one > most)
                most = one;
        }
    closedir(dir);
    return most;
}

static int64_t available_memory(void)
{
    char text[1024];
    slurp("/proc/meminfo", text, sizeof(text));
    const char *line = strstr(text, "MemAvailable:");
    return line ? strtoll(line + 13, NULL, 10) * 1024 : 0;
}

void vitals_read(const char *state, const char *thermal, struct vitals *ret)
{
    struct statvfs fs;
    *ret = (struct vitals){.temperature = hottest(thermal)};
    if (getloadavg(&ret->load, 1) != 1)
        ret->load = 0;
    if (statvfs(state, &fs) == 0)
        ret->disk_free = (int64_t)fs.f_bavail * (int64_t)fs.f_frsize;
    ret->memory_free = available_memory();
}
