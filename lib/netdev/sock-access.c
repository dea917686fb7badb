/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The ovs-vhost authors.
 *
 * Parses who a socket shall belong to; see sock-access.h.  Names are looked up
 * once, since the name service may be slow and settings are read again with
 * each change of any port.
 */

#include <config.h>

#include "sock-access.h"

#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>

#include "openvswitch/dynamic-string.h"
#include "options.h"
#include "smap.h"
#include "util.h"

/* Memory for one answer of the name service: groups may have many members. */
#define ANSWER_SIZE 65536

/* Stores the number that 's' is in '*id'.  Not -1, which means no change to
 * chown(2). */
static bool
parse_id(const char *s, unsigned int *id)
{
    return str_to_uint(s, 10, id) && *id != UINT_MAX;
}

static bool
find_user(const char *name, uid_t *uid)
{
    char *buf = xmalloc(ANSWER_SIZE);
    struct passwd *found = NULL;
    struct passwd pw;
    unsigned int id;
    bool ok = true;

    if (parse_id(name, &id)) {
        *uid = id;
    } else if (!getpwnam_r(name, &pw, buf, ANSWER_SIZE, &found) && found) {
        *uid = pw.pw_uid;
    } else {
        ok = false;
    }
    free(buf);
    return ok;
}

static bool
find_group(const char *name, gid_t *gid)
{
    char *buf = xmalloc(ANSWER_SIZE);
    struct group *found = NULL;
    struct group gr;
    unsigned int id;
    bool ok = true;

    if (parse_id(name, &id)) {
        *gid = id;
    } else if (!getgrnam_r(name, &gr, buf, ANSWER_SIZE, &found) && found) {
        *gid = gr.gr_gid;
    } else {
        ok = false;
    }
    free(buf);
    return ok;
}

/* Looks up 'owner', USER, USER:GROUP or :GROUP.  Returns false, having
 * complained, if that is not one. */
static bool
find_owner(const char *owner, struct vhost_socket_access *a,
           struct ds *errors)
{
    char *user = xstrdup(owner);
    char *group = strchr(user, ':');
    bool ok = false;

    if (group) {
        *group++ = '\0';
    }
    a->set_uid = *user != '\0';
    a->set_gid = group != NULL;
    if ((!a->set_uid && !a->set_gid) || (group && !*group)) {
        options_complain(errors, "vhost-sock-owner \"%s\" is not USER, "
                         "USER:GROUP or :GROUP: using our own", owner);
    } else if (a->set_uid && !find_user(user, &a->uid)) {
        options_complain(errors, "vhost-sock-owner: there is no user \"%s\": "
                         "using our own", user);
    } else if (a->set_gid && !find_group(group, &a->gid)) {
        options_complain(errors, "vhost-sock-owner: there is no group "
                         "\"%s\": using our own", group);
    } else {
        ok = true;
    }
    if (!ok) {
        a->set_uid = a->set_gid = false;
    }
    free(user);
    return ok;
}

static void
parse_mode(const char *mode, struct vhost_socket_access *a, struct ds *errors)
{
    unsigned int value;

    a->set_mode = false;
    if (!mode) {
        return;
    }
    if (strspn(mode, "01234567") == strlen(mode)
        && str_to_uint(mode, 8, &value) && value <= 0777) {
        a->set_mode = true;
        a->mode = value;
    } else {
        options_complain(errors, "vhost-sock-mode \"%s\" is no octal number "
                         "up to 0777, such as 0660: using the umask's", mode);
    }
}

static bool
are_equal(const struct vhost_socket_access *a,
          const struct vhost_socket_access *b)
{
    return (a->set_uid == b->set_uid && a->set_gid == b->set_gid
            && a->set_mode == b->set_mode
            && (!a->set_uid || a->uid == b->uid)
            && (!a->set_gid || a->gid == b->gid)
            && (!a->set_mode || a->mode == b->mode));
}

bool
sock_access_parse(struct sock_access *s, const struct smap *args,
                  struct ds *errors)
{
    const struct vhost_socket_access old = s->wanted;
    const char *owner = smap_get(args, "vhost-sock-owner");

    if (!nullable_string_is_equal(owner, s->owner)) {
        free(s->owner);
        s->owner = NULL;
        s->wanted.set_uid = s->wanted.set_gid = false;
        if (owner && find_owner(owner, &s->wanted, errors)) {
            s->owner = xstrdup(owner);
        }
    }
    parse_mode(smap_get(args, "vhost-sock-mode"), &s->wanted, errors);
    return !are_equal(&old, &s->wanted);
}

void
sock_access_destroy(struct sock_access *s)
{
    free(s->owner);
}
