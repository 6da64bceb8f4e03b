/* sheafctl: the farm's command line. */
#include "common/mem.h"
#include "ctl/ctl.h"
#include "sheaf-config.h"

#include <getopt.h>
#include <limits.h>
#include <locale.h>
#include <signal.h>

#define DEFAULT_SOCKET "/run/sheaf/sheafd.sock"

enum option_id {
    OPT_HELP = 'h',
    OPT_FOLLOW = 'f',
    OPT_LIMIT = 'n',
    OPT_SOCKET = 256,
    OPT_URL,
    OPT_TOKEN_FILE,
    OPT_JSON,
    OPT_COLOR,
    OPT_VERSION,
    OPT_NO_CACHE,
    OPT_PLATFORM,
    OPT_TRACK,
    OPT_BEFORE,
    OPT_FILE,
    OPT_ATTEMPT,
    OPT_REASON,
    OPT_REF,
    OPT_TO,
    OPT_PATH,
    OPT_LOST,
    OPT_AGAINST_RUNNING,
    OPT_WITH_DEPENDENTS,
};

/* Bits of the options that belong to some commands only. */
enum {
    TAKES_FOLLOW = 1,
    TAKES_NO_CACHE = 2,
    TAKES_PLATFORM = 4,
    TAKES_PAGE = 8,
    TAKES_FILE = 16,
    TAKES_REASON = 32,
    TAKES_DEPENDENTS = 64,
    TAKES_EVENT = 128,
    TAKES_AGAINST = 256,
};

static const struct option long_options[] = {
    {"help", no_argument, NULL, OPT_HELP},
    {"version", no_argument, NULL, OPT_VERSION},
    {"socket", required_argument, NULL, OPT_SOCKET},
    {"url", required_argument, NULL, OPT_URL},
    {"token-file", required_argument, NULL, OPT_TOKEN_FILE},
    {"json", no_argument, NULL, OPT_JSON},
    {"color", required_argument, NULL, OPT_COLOR},
    {"follow", no_argument, NULL, OPT_FOLLOW},
    {"attempt", required_argument, NULL, OPT_ATTEMPT},
    {"no-cache", no_argument, NULL, OPT_NO_CACHE},
    {"platform", required_argument, NULL, OPT_PLATFORM},
    {"track", required_argument, NULL, OPT_TRACK},
    {"limit", required_argument, NULL, OPT_LIMIT},
    {"before", required_argument, NULL, OPT_BEFORE},
    {"file", required_argument, NULL, OPT_FILE},
    {"secret-file", required_argument, NULL, OPT_FILE},
    {"with-dependents", no_argument, NULL, OPT_WITH_DEPENDENTS},
    {"reason", required_argument, NULL, OPT_REASON},
    {"ref", required_argument, NULL, OPT_REF},
    {"to", required_argument, NULL, OPT_TO},
    {"path", required_argument, NULL, OPT_PATH},
    {"lost", no_argument, NULL, OPT_LOST},
    {"against-running", no_argument, NULL, OPT_AGAINST_RUNNING},
    {NULL, 0, NULL, 0},
};

#define REASON_HELP "  --reason TEXT   why; kept with who and when (sheafctl actions)\n"

struct command {
    const char *name;
    int (*run)(struct ctl *ctl);
    int min_args, max_args;
    unsigned takes;
    const char *usage, *summary, *help;
};

static const struct command commands[] = {
    {"status", cmd_status, 0, 0, 0, "status",
     "the farm: every track by platform, what runs, what is wrong",
     "Shows every track with the state of each of its platforms and its tags (in parentheses: "
     "those\n"
     "that it may have, and has not now), the jobs that run, and why any "
     "track\n"
     "is not what it should be.\n"},
    {"tracks", cmd_tracks, 0, 1, 0, "tracks [IMAGE]", "the tracks, of all images or of one", ""},
    {"builds", cmd_builds, 0, 0, TAKES_PAGE, "builds [--track TRACK|IMAGE] [-n N] [--before BUILD]",
     "what was built lately, newest first",
     "  --track TRACK   of this track only\n"
     "  -n, --limit N   how many (20)\n"
     "  --before BUILD  older ones than this\n"},
    {"show", cmd_show, 1, 2, TAKES_PLATFORM, "show BUILD|TRACK|IMAGE|JOB [PLATFORM]",
     "one build, track or job in full",
     "A build is its number, a job its key (sha256:…), or a build or track with a platform:\n"
     "  sheafctl show 17\n"
     "  sheafctl show minideb@master:bookworm\n"
     "  sheafctl show 17 linux/arm64\n"},
    {"logs", cmd_logs, 1, 2, TAKES_PLATFORM | TAKES_FOLLOW,
     "logs [-f] JOB | BUILD|TRACK [PLATFORM]", "a job's log",
     "  -f, --follow    goes on until the job has ended, over further attempts too; the exit "
     "status is\n"
     "                  then the job's: 0 succeeded, 1 failed or cancelled\n"
     "  --attempt ID    this attempt's instead of the newest's\n"},
    {"rebuild", cmd_rebuild, 1, 1,
     TAKES_NO_CACHE | TAKES_PLATFORM | TAKES_DEPENDENTS | TAKES_REASON,
     "rebuild [--no-cache] [--with-dependents] [--platform P] TRACK|IMAGE",
     "build again though nothing has changed",
     "  --no-cache      without the boards' layer caches, and so whatever\n"
     "                  follows until a rebuild without it\n"
     "  --with-dependents\n"
     "                  and everything that is built on it, in that order\n"
     "  --platform P    this platform only\n" REASON_HELP},
    {"cancel", cmd_cancel, 1, 2, TAKES_PLATFORM, "cancel BUILD | JOB | BUILD|TRACK PLATFORM",
     "cancel a build, or one job of it", ""},
    {"hold", cmd_track_command, 1, 1, TAKES_REASON, "hold [--reason TEXT] TRACK|IMAGE",
     "build a track, and publish nothing of it",
     "What is being published already is finished. A tag that the track has stays with "
     "it.\n" REASON_HELP},
    {"release", cmd_track_command, 1, 1, TAKES_REASON, "release TRACK|IMAGE",
     "end a hold, a pin or a rollback: the newest build is published", REASON_HELP},
    {"freeze", cmd_farm_command, 0, 0, TAKES_REASON, "freeze [--reason TEXT]", "hold every track",
     REASON_HELP},
    {"thaw", cmd_farm_command, 0, 0, TAKES_REASON, "thaw", "end the freeze", REASON_HELP},
    {"pin", cmd_return, 2, 2, TAKES_REASON, "pin [--reason TEXT] TRACK|IMAGE PUBLICATION|DIGEST",
     "let a track's tags go to a publication, and stay there",
     "Publications are numbered, or named by the beginning of their index's digest; sheafctl show "
     "TRACK\nlists them.\n" REASON_HELP},
    {"rollback", cmd_return, 1, 2, TAKES_REASON,
     "rollback [--reason TEXT] TRACK|IMAGE [PUBLICATION|DIGEST]",
     "return a track's tags to an older publication, and hold them there",
     "Without a publication: to the one before the newest. It builds on, and publishes nothing "
     "until it\nis released or promoted.\n" REASON_HELP},
    {"promote", cmd_track_command, 1, 1, TAKES_REASON, "promote TRACK|IMAGE",
     "publish what a track built last, hold or not",
     "The hold stays, for the next build. Where another track has a tag that this one may claim as "
     "well,\nit becomes this one's.\n" REASON_HELP},
    {"retry", cmd_retry, 1, 2, TAKES_PLATFORM | TAKES_REASON,
     "retry TRACK|IMAGE | JOB | BUILD|TRACK PLATFORM",
     "try again now what has failed or waits for its next try", REASON_HELP},
    {"retire", cmd_track_command, 1, 1, TAKES_PLATFORM | TAKES_REASON,
     "retire [--platform P] TRACK|IMAGE", "build a track no more, or drop one of its platforms",
     "A retired track owns no tags: those that others claim go to them, the rest stay as they "
     "are.\n"
     "  --platform P    only this platform is dropped, from the next index on\n" REASON_HELP},
    {"wake", cmd_track_command, 1, 1, TAKES_PLATFORM | TAKES_REASON,
     "wake [--platform P] TRACK|IMAGE",
     "keep a dormant or retired track in date, whatever maintain says",
     "  --platform P    only this platform, which was retired\n" REASON_HELP},
    {"actions", cmd_actions, 0, 0, TAKES_PAGE, "actions [--track ID] [-n N] [--before ACTION]",
     "who changed what, when and why, newest first", ""},
    {"boards", cmd_boards, 0, 2, TAKES_FILE, "boards [add NAME [--file PATH]]",
     "the boards; or make one known",
     "boards add makes a board known, or gives it a new secret; the old one is void.\n"
     "  --file PATH     writes the secret there, readable by its owner alone, instead of showing "
     "it\n"},
    {"sources", cmd_sources, 0, 0, 0, "sources", "the upstream repositories that are watched",
     "Also what was seen of them and counts only when the next look sees it too (a ref that was "
     "forced,\nor is gone), and images of which nothing was seen yet.\n"},
    {"poll", cmd_poll, 1, 1, 0, "poll SOURCE|IMAGE", "look at an upstream now",
     "A git hook can call this, so that a push need not wait for the next poll.\n"},
    {"audit", cmd_repository, 0, 1, 0, "audit [REPOSITORY]",
     "look now whether the tags that the farm owns are where it put them",
     "What was moved or deleted by hand is said by sheafctl status, and put back where farm.yaml\n"
     "says `enforce: true`.\n"},
    {"adopt", cmd_repository, 1, 1, 0, "adopt REPOSITORY",
     "let a repository go on that stopped because a tag of it was moved by somebody else",
     "What its tags name now is taken for granted, and the next publication moves them on. The\n"
     "repository is written in full, as sheafctl status names it: registry.example.org/osf/web\n"
     "A publication that is left in a repository to which farm.yaml publishes no more is given "
     "up.\n"},
    {"restore", cmd_repository, 1, 1, 0, "restore REPOSITORY",
     "let a stopped repository go on, and put its tags back", ""},
    {"check", cmd_check, 1, 1, TAKES_AGAINST, "check FILE [--against-running]",
     "is this farm.yaml good? what would it change?",
     "Checks a configuration without taking it. Each error is one line: file:line:column: key: "
     "text.\n"
     "  --against-running  tells what it would cause here: images that come and go, what would be "
     "built\n"
     "                  and why, tags that move; the exit status is 5 if something would be worse "
     "than it\n"
     "                  is: a track blocked, failed, in conflict or without a board\n"},
    {"what-if", cmd_what_if, 2, 2, TAKES_EVENT,
     "what-if push SOURCE|IMAGE | base REFERENCE | config FILE | board NAME --lost",
     "what would an event cause?",
     "Tells what would be built, why, in which order, on which boards and in about what time, "
     "which tags\n"
     "would move, and what could not be built any more. Nothing is changed.\n"
     "  push SOURCE     commits that change every file of an upstream, on the refs that are kept "
     "in "
     "date\n"
     "  push IMAGE      commits that change the files of one image\n"
     "      --path P    that change only this file or folder; may be given again\n"
     "      --ref REF   on this branch or tag, which may be new (refs/tags/v2.0.0)\n"
     "      --to WHAT   that bring REF to this commit (its whole id), or to where this branch or "
     "tag "
     "is\n"
     "  base REFERENCE  new content of a base, as a Dockerfile names it\n"
     "  config FILE     this farm.yaml instead of the one that runs\n"
     "  board NAME --lost  a board that is away from now on\n"},
};

#define N_COMMANDS (sizeof(commands) / sizeof(*commands))

static const char general_help[] =
    "  --socket PATH      the coordinator's socket (" DEFAULT_SOCKET "; $SHEAF_SOCKET)\n"
    "  --url URL          by TCP instead, as http://127.0.0.1:7431 ($SHEAF_URL)\n"
    "  --token-file FILE  holds the token that changes need by TCP\n"
    "  --json             print the coordinator's answer as it is\n"
    "  --color WHEN       auto, always or never\n"
    "  -h, --help         this; with a command, that command's\n"
    "  --version\n";

static const char exit_help[] =
    "Exit status:\n"
    "  0  done; logs -f: the job has succeeded; check: the file is good\n"
    "  1  refused by the coordinator; logs -f: the job has failed or was cancelled; check: it is "
    "not good\n"
    "  2  the command line is wrong, or does not say which of several is meant\n"
    "  3  there is no such track, build, job, board, source, repository or file\n"
    "  4  no coordinator answers\n"
    "  5  check --against-running: the file is good, and something would be worse with it\n"
    "What is wrong is said on standard error.\n";

static int help(const struct command *command)
{
    if (command) {
        printf("usage: sheafctl %s\n\n%s\n\n%s\nFor all commands:\n%s\n%s", command->usage,
               command->summary, command->help, general_help, exit_help);
        return CTL_OK;
    }
    printf("usage: sheafctl [OPTION…] COMMAND [ARGUMENT…]\n\n");
    for (size_t i = 0; i < N_COMMANDS; i++)
        printf("  %-10s %s\n", commands[i].name, commands[i].summary);
    printf("\n%s\n%s", general_help, exit_help);
    return CTL_OK;
}

static const struct command *find_command(const char *name)
{
    for (size_t i = 0; name && i < N_COMMANDS; i++)
        if (str_eq(commands[i].name, name))
            return &commands[i];
    return NULL;
}

static int read_token(struct ctl *ctl, const char *path)
{
    char token[512] = "";
    cleanup_fclose FILE *f = fopen(path, "re");
    if (!f || !fgets(token, sizeof(token), f))
        return ctl_say(CTL_FAILED, "%s: no token in it", path);
    token[strcspn(token, "\r\n")] = '\0';
    free(ctl->authorization);
    ctl->authorization = xasprintf("Bearer %s", token);
    return CTL_OK;
}

static int set_color(struct ctl *ctl, const char *when)
{
    if (!str_eq(when, "auto") && !str_eq(when, "always") && !str_eq(when, "never"))
        return ctl_say(CTL_USAGE, "--color takes auto, always or never");
    if (!str_eq(when, "auto"))
        ctl->colors = str_eq(when, "always");
    return CTL_OK;
}

static int set_number(long *ret, const char *name, const char *text)
{
    char *end;
    long v = strtol(text, &end, 10);
    if (*end || v <= 0 || v == LONG_MAX)
        return ctl_say(CTL_USAGE, "%s takes a number", name);
    *ret = v;
    return CTL_OK;
}

/* An option that belongs to some commands; *takes collects which were given. */
static int take_command_option(struct ctl *ctl, int id, unsigned *takes)
{
    switch (id) {
    case OPT_FOLLOW:
        ctl->follow = true;
        *takes |= TAKES_FOLLOW;
        return CTL_OK;
    case OPT_ATTEMPT:
        ctl->attempt = optarg;
        *takes |= TAKES_FOLLOW;
        return CTL_OK;
    case OPT_NO_CACHE:
        ctl->no_cache = true;
        *takes |= TAKES_NO_CACHE;
        return CTL_OK;
    case OPT_PLATFORM:
        ctl->platform = optarg;
        *takes |= TAKES_PLATFORM;
        return CTL_OK;
    case OPT_WITH_DEPENDENTS:
        ctl->with_dependents = true;
        *takes |= TAKES_DEPENDENTS;
        return CTL_OK;
    case OPT_REASON:
        ctl->reason = optarg;
        *takes |= TAKES_REASON;
        return CTL_OK;
    case OPT_REF:
    case OPT_TO:
    case OPT_PATH:
    case OPT_LOST:
        *takes |= TAKES_EVENT;
        ctl->lost = ctl->lost || id == OPT_LOST;
        ctl->ref = id == OPT_REF ? optarg : ctl->ref;
        ctl->to = id == OPT_TO ? optarg : ctl->to;
        if (id == OPT_PATH)
            json_array_append_new(ctl->paths, json_string(optarg));
        return CTL_OK;
    case OPT_AGAINST_RUNNING:
        ctl->against_running = true;
        *takes |= TAKES_AGAINST;
        return CTL_OK;
    case OPT_FILE:
        ctl->file = optarg;
        *takes |= TAKES_FILE;
        return CTL_OK;
    default: /* getopt has said what is wrong */
        return CTL_USAGE;
    }
}

static int take_option(struct ctl *ctl, int id, unsigned *takes)
{
    switch (id) {
    case OPT_SOCKET:
        ctl->socket = optarg;
        ctl->url = NULL;
        return CTL_OK;
    case OPT_URL:
        ctl->url = optarg;
        return CTL_OK;
    case OPT_TOKEN_FILE:
        return read_token(ctl, optarg);
    case OPT_JSON:
        ctl->json = true;
        return CTL_OK;
    case OPT_COLOR:
        return set_color(ctl, optarg);
    case OPT_TRACK:
        ctl->track = optarg;
        *takes |= TAKES_PAGE;
        return CTL_OK;
    case OPT_LIMIT:
        *takes |= TAKES_PAGE;
        return set_number(&ctl->limit, "--limit", optarg);
    case OPT_BEFORE:
        *takes |= TAKES_PAGE;
        return set_number(&ctl->before, "--before", optarg);
    default:
        return take_command_option(ctl, id, takes);
    }
}

/* Reads the command line; *ret_help is set by --help. */
static int parse(struct ctl *ctl, int argc, char **argv, unsigned *takes, bool *ret_help)
{
    int id;
    while ((id = getopt_long(argc, argv, "hfn:", long_options, NULL)) != -1) {
        if (id == OPT_HELP) {
            *ret_help = true;
            continue;
        }
        if (id == OPT_VERSION) {
            printf("sheafctl %s\n", SHEAF_VERSION);
            exit(CTL_OK);
        }
        int r = take_option(ctl, id, takes);
        if (r != CTL_OK)
            return r;
    }
    if (optind < argc) {
        ctl->command = argv[optind];
        ctl->args = argv + optind + 1;
        ctl->n_args = argc - optind - 1;
    }
    return CTL_OK;
}

static int run(struct ctl *ctl, const struct command *command, unsigned takes)
{
    if (takes & ~command->takes)
        return ctl_say(CTL_USAGE, "that option is not %s's: sheafctl %s", command->name,
                       command->usage);
    if (ctl->n_args < command->min_args || ctl->n_args > command->max_args)
        return ctl_say(CTL_USAGE, "usage: sheafctl %s", command->usage);
    ctl->sync = http_sync_new();
    int r = command->run(ctl);
    http_sync_free(ctl->sync);
    return fflush(stdout) == 0 ? r : CTL_FAILED;
}

int main(int argc, char **argv)
{
    const char *socket = getenv("SHEAF_SOCKET"), *url = getenv("SHEAF_URL");
    struct ctl ctl = {.socket = socket && *socket ? socket : DEFAULT_SOCKET,
                      .url = url && *url ? url : NULL,
                      .paths = json_array()};
    unsigned takes = 0;
    bool wants_help = false;
    setlocale(LC_CTYPE, "C.UTF-8");
    signal(SIGPIPE, SIG_DFL);
    ctl.colors = isatty(STDOUT_FILENO) && !getenv("NO_COLOR");
    int r = parse(&ctl, argc, argv, &takes, &wants_help);
    if (r != CTL_OK)
        return r;
    const struct command *command = find_command(ctl.command);
    if (wants_help && (command || !ctl.command))
        return help(command);
    if (!ctl.command)
        return ctl_say(CTL_USAGE, "which command? (sheafctl --help)");
    if (!command)
        return ctl_say(CTL_USAGE, "no command %s (sheafctl --help)", ctl.command);
    r = run(&ctl, command, takes);
    free(ctl.authorization);
    json_decref(ctl.paths);
    return r;
}
