/* Versions as upstreams write them in tags and branch names: semantic versions and other dotted
 * numbers, compared by number, with prereleases before their release. */
#pragma once

#include "common/err.h"
#include "daemon/model/farm.h"

#include <stdbool.h>
#include <stdint.h>

#define VERSION_PARTS_MAX 6
#define VERSION_TEXT_MAX  100 /* bytes, the terminator excluded */

struct version {
    uint64_t part[VERSION_PARTS_MAX];      /* those not written are 0 */
    int parts;                             /* how many were written, at least 1 */
    char prerelease[VERSION_TEXT_MAX + 1]; /* "rc.1", or "" for a release */
};

/* Reads "1.4", "3.20.1", "24.04", "1.0.0-rc.1", "2.0rc1", "1.0_beta2", "1.4.0+build7" (what follows
 * the '+' is ignored). A leading v is not part of it. Returns 0 or -EINVAL. */
int version_parse(const char *text, struct version *ret_version);

/* <0, 0 or >0 as `a` is lower than, the same as or higher than `b`: parts by number, a prerelease
 * below its release (prereleases by semver's rules), and of two that differ only in trailing zeros the
 * one that is written out more. 0 only for versions that nobody could order. */
int version_cmp(const struct version *a, const struct version *b);

/* <0, 0 or >0 likewise, but releases are higher than all prereleases. */
int version_newer(const struct version *a, const struct version *b);

/* Whether it is a prerelease. */
bool version_is_prerelease(const struct version *v);

/* Checks bounds such as ">=3.19, <4": comparisons with >=, >, <=, <, = or !=, all of which must hold,
 * separated by commas or blanks. -EINVAL says what is wrong with them. */
int version_bounds_check(const char *bounds, struct err *err);

/* Whether `v` is within bounds that version_bounds_check has accepted; NULL bounds hold all. Parts not
 * written count as 0, and 2.0-rc.1 is not "<2". */
bool version_within(const char *bounds, const struct version *v);

/* Whether `maintain` keeps only one of the two in date, the higher one (1.4.0 and 1.4.1 under
 * minor). Never for FARM_MAINTAIN_PATCH. */
bool version_same_series(const struct version *a, const struct version *b,
                         enum farm_maintain maintain);
