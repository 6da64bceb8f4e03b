/* What this machine's apt is configured to: its Debian mirrors and how it reaches them. */
#pragma once

#include "common/err.h"
#include "common/mem.h"

/* The host's release ("bookworm") from /etc/os-release; the caller owns it, NULL if unknown. */
char *apt_host_suite(void);
/* Whether `name` is a Debian release that debootstrap or mmdebstrap can make. */
bool apt_is_debian_suite(const char *name);

/* One-line sources ("deb URI SUITE main") for `suite`, the release itself first, from the mirrors that this machine uses for its own
 * release, its updates and its security archive (those two for the host's own suite only). -ENOENT when apt
 * names no Debian mirror. */
int apt_sources_for(const char *suite, strvec *ret_lines, struct err *err);
/* The machine's settings that matter to reach them: proxies, time-outs, retries, dates ("Acquire::… "x";").
 */
int apt_options(strvec *ret_lines, struct err *err);

/* The parsing half of apt_sources_for: `text` is what apt-get indextargets printed in the format
 * "REPO_URI|RELEASE|COMPONENT|ORIGIN". */
void apt_sources_parse(const char *text, const char *host_suite, const char *suite,
                       strvec *ret_lines);
