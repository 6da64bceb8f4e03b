#include "common/err.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

bool err_code_retryable(int code)
{
    switch (code < 0 ? -code : code) {
    case EAGAIN:
    case EBUSY:
    case ECONNABORTED:
    case ECONNREFUSED:
    case ECONNRESET:
    case EHOSTUNREACH:
    case EINTR:
    case ENETDOWN:
    case ENETUNREACH:
    case ENOBUFS:
    case ENOMEM:
    case ENOSPC:
    case EDQUOT:
    case EPIPE:
    case ETIMEDOUT:
        return true;
    default:
        return false;
    }
}

/* Texts are cut where they are too long: a character whose end was cut off goes with it. */
static void trim(char *text)
{
    size_t n = strlen(text), back = 0;
    while (back < 3 && back + 1 < n && ((unsigned char)text[n - 1 - back] & 0xc0) == 0x80)
        back++;
    if (n == 0)
        return;
    unsigned char lead = (unsigned char)text[n - 1 - back];
    size_t want = lead >= 0xf0 ? 4 : lead >= 0xe0 ? 3 : lead >= 0xc0 ? 2 : 1;
    if (want > back + 1)
        text[n - 1 - back] = '\0';
}

static int err_vset(struct err *err, int code, bool retryable, const char *fmt, va_list ap)
{
    if (!err)
        return code;
    /* Formatted aside: an argument may point into err->text. */
    char text[ERR_TEXT_MAX];
    vsnprintf(text, sizeof(text), fmt, ap);
    trim(text);
    memcpy(err->text, text, sizeof(text));
    err->code = code;
    err->retryable = retryable;
    return code;
}

int err_set(struct err *err, int code, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    int r = err_vset(err, code, err_code_retryable(code), fmt, ap);
    va_end(ap);
    return r;
}

int err_set_retryable(struct err *err, int code, bool retryable, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    int r = err_vset(err, code, retryable, fmt, ap);
    va_end(ap);
    return r;
}

int err_errno(struct err *err, int code, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    int r = err_vset(err, code, err_code_retryable(code), fmt, ap);
    va_end(ap);
    if (err) {
        size_t used = strlen(err->text);
        snprintf(err->text + used, sizeof(err->text) - used, ": %s", strerror(-code));
        trim(err->text);
    }
    return r;
}

int err_wrap(struct err *err, const char *fmt, ...)
{
    if (!err)
        return -EIO;
    char context[ERR_TEXT_MAX], text[ERR_TEXT_MAX];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(context, sizeof(context), fmt, ap);
    va_end(ap);
    snprintf(text, sizeof(text), "%s: %s", context, err->text);
    trim(text);
    memcpy(err->text, text, sizeof(text));
    return err->code ? err->code : -EIO;
}
