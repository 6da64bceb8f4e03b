/* What a git worker may do at its worst: the URL of a list says what. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int is(const char *line, const char *what)
{
    return strstr(line, what) != NULL;
}

static long id_of(const char *line)
{
    const char *id = strstr(line, "\"id\":");
    return id ? strtol(id + 5, NULL, 10) : 0;
}

static void refs(long id, int n)
{
    printf("{\"ok\":true,\"id\":%ld,\"head\":null,\"total\":%d,\"refs\":[", id, n);
    for (int i = 0; i < n; i++)
        printf("%s{\"name\":\"refs/tags/v%06d\",\"oid\":\"%040d\",\"peeled\":\"%040d\"}",
               i ? "," : "", i, i, i);
    printf("]}\n");
}

/* As many refs as the file after "count:" says. */
static void count(const char *path, long id)
{
    char name[256] = "";
    int n = 0;
    sscanf(path, "%255[^\"]", name);
    FILE *f = fopen(name, "r");
    if (!f || fscanf(f, "%d", &n) != 1)
        printf("{\"id\":%ld,\"ok\":false,\"error\":\"away\",\"retryable\":true,\"code\":"
               "\"missing\"}\n",
               id);
    else
        refs(id, n);
    if (f)
        fclose(f);
}

static void list(const char *line, long id)
{
    if (is(line, "count:"))
        count(strstr(line, "count:") + strlen("count:"), id);
    else if (is(line, "hang"))
        pause();
    else if (is(line, "crash"))
        abort();
    else if (is(line, "leave"))
        exit(0);
    else if (is(line, "half"))
        printf("{\"ok\":true,");
    else if (is(line, "garbage"))
        printf("garbage\n");
    else if (is(line, "other"))
        printf("{\"id\":%ld,\"ok\":true}\n", id + 1);
    else if (is(line, "extra"))
        printf("{\"id\":%ld,\"ok\":true,\"refs\":[],\"total\":0,\"head\":null,\"more\":1}\n", id);
    else if (is(line, "badoid"))
        printf("{\"id\":%ld,\"ok\":true,\"total\":1,\"head\":null,\"refs\":[{\"name\":\"a\","
               "\"oid\":\"x\",\"peeled\":\"x\"}]}\n",
               id);
    else if (is(line, "refuse"))
        printf("{\"id\":%ld,\"ok\":false,\"error\":\"no "
               "entry\",\"retryable\":false,\"code\":\"auth\"}\n",
               id);
    else if (is(line, "twice"))
        refs(id, 0), refs(id, 0);
    else if (is(line, "many"))
        refs(id, 20000);
    else if (is(line, "slow"))
        usleep(50000), refs(id, 1);
    else
        refs(id, 2);
    fflush(stdout);
    if (is(line, "half"))
        pause();
}

int main(void)
{
    char *line = NULL;
    size_t cap = 0;
    while (getline(&line, &cap, stdin) > 0) {
        long id = id_of(line);
        if (is(line, "\"op\":\"list\""))
            list(line, id);
        else if (is(line, "\"op\":\"fetch\"") && is(line, "hang"))
            pause();
        else if (is(line, "\"op\":\"fetch\""))
            printf("{\"id\":%ld,\"ok\":true,\"fetched\":[],\"missing\":[\"gone\"],"
                   "\"refused\":[{\"name\":\"odd\",\"oid\":\"%040d\",\"error\":\"no commit\"}]}\n",
                   id, 7);
        else if (is(line, "\"op\":\"ancestor\""))
            printf("{\"id\":%ld,\"ok\":true,\"ancestor\":true}\n", id);
        else
            printf("{\"id\":%ld,\"ok\":false,\"error\":\"?\",\"retryable\":true,\"code\":\"io\"}\n",
                   id);
        fflush(stdout);
    }
    free(line);
    return 0;
}
