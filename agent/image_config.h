/* The config of a finished image: deterministic JSON. */
#pragma once

#include "agent/image_build.h"

/* A new config with the platform, times and settings in place, "config" filled, without layers and history.
 * `built` (may be NULL) is a builder's config to start from. The caller owns it. */
json_t *image_config_new(const json_t *built, const struct image_settings *settings);
/* Gives it the layers' diff_ids. */
void image_config_set_layers(json_t *config, const struct image_layer *layers, size_t n);
/* Appends an entry of history. */
void image_config_add_history(json_t *config, const char *created_by,
                              const struct image_settings *settings);
