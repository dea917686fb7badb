# SPDX-License-Identifier: Apache-2.0
# Copyright (c) 2026 The ovs-vhost authors.
#
# What configure.ac needs beyond Autoconf: compiler options, sanitizers, and
# finding or preparing the Open vSwitch tree that the plugin is built for.

# OVS_VHOST_FAIL(SENTENCE)
#
# Stops configure with SENTENCE, which may be wrapped in the source.
AC_DEFUN([OVS_VHOST_FAIL], [AC_MSG_ERROR(m4_normalize([$1]))])

# OVS_VHOST_CC_OPTION(VARIABLE, OPTION...)
#
# Appends to VARIABLE each OPTION that the compiler knows.
AC_DEFUN([OVS_VHOST_CC_OPTION],
  [ovs_vhost_save_CFLAGS=$CFLAGS
   for ovs_vhost_option in m4_normalize([$2]); do
     AC_MSG_CHECKING([whether $CC knows $ovs_vhost_option])
     CFLAGS="$ovs_vhost_save_CFLAGS -Werror $$1 $ovs_vhost_option"
     AC_COMPILE_IFELSE([AC_LANG_PROGRAM([], [])],
       [AC_MSG_RESULT([yes])
        $1="$$1 $ovs_vhost_option"],
       [AC_MSG_RESULT([no])])
   done
   CFLAGS=$ovs_vhost_save_CFLAGS])

# OVS_VHOST_NO_NATIVE
#
# Fails if somebody asks for a build that runs on the build machine only.
AC_DEFUN([OVS_VHOST_NO_NATIVE],
  [AS_CASE([" $CFLAGS $CPPFLAGS "],
     [*-march=native*],
       [OVS_VHOST_FAIL([-march=native makes a plugin that runs only here: leave
                        it out, code for newer processors is chosen at run
                        time])])])

# OVS_VHOST_SANITIZERS
#
# Adds --enable-asan, --enable-ubsan and --enable-tsan and sets SANITIZE_CFLAGS
# and the conditional SANITIZE.
AC_DEFUN([OVS_VHOST_SANITIZERS],
  [AC_ARG_ENABLE([asan],
     [AS_HELP_STRING([--enable-asan],
        [build lib/vhost's unit tests with AddressSanitizer (the plugin is
         never sanitized, since ovs-vswitchd is not)])])
   AC_ARG_ENABLE([ubsan],
     [AS_HELP_STRING([--enable-ubsan],
        [the same with UndefinedBehaviorSanitizer])])
   AC_ARG_ENABLE([tsan],
     [AS_HELP_STRING([--enable-tsan],
        [the same with ThreadSanitizer; excludes --enable-asan])])
   AS_IF([test "$enable_asan" = yes && test "$enable_tsan" = yes],
     [OVS_VHOST_FAIL([--enable-asan and --enable-tsan exclude each other: build
                    twice])])
   SANITIZE_CFLAGS=
   AS_IF([test "$enable_asan" = yes],
     [SANITIZE_CFLAGS="$SANITIZE_CFLAGS -fsanitize=address"])
   AS_IF([test "$enable_tsan" = yes],
     [# It warns of fences, which it does not know; where one matters to it the
      # code does without.
      SANITIZE_CFLAGS="$SANITIZE_CFLAGS -fsanitize=thread -Wno-tsan"])
   # An error has to end the test program.
   AS_IF([test "$enable_ubsan" = yes],
     [SANITIZE_CFLAGS="$SANITIZE_CFLAGS -fsanitize=undefined"
      SANITIZE_CFLAGS="$SANITIZE_CFLAGS -fno-sanitize-recover=undefined"])
   AS_IF([test -n "$SANITIZE_CFLAGS"],
     [SANITIZE_CFLAGS="$SANITIZE_CFLAGS -fno-omit-frame-pointer"
      ovs_vhost_save_CFLAGS=$CFLAGS
      CFLAGS="$CFLAGS $SANITIZE_CFLAGS"
      AC_MSG_CHECKING([whether the sanitizers work])
      AC_LINK_IFELSE([AC_LANG_PROGRAM([], [])],
        [AC_MSG_RESULT([yes])],
        [AC_MSG_RESULT([no])
         OVS_VHOST_FAIL([$CC cannot link with$SANITIZE_CFLAGS: install its
                       sanitizer libraries (Debian: libgcc-12-dev)])])
      CFLAGS=$ovs_vhost_save_CFLAGS])
   AC_SUBST([SANITIZE_CFLAGS])
   AM_CONDITIONAL([SANITIZE], [test -n "$SANITIZE_CFLAGS"])])

# OVS_VHOST_NEED(TEST, PACKAGE)
#
# Notes that Debian's PACKAGE has to be installed if shell command TEST fails.
AC_DEFUN([OVS_VHOST_NEED],
  [AS_IF([$1], [], [ovs_vhost_missing="$ovs_vhost_missing $2"])])

# OVS_VHOST_FROM_MAKEFILE(VARIABLE, NAME)
#
# Sets VARIABLE to the value of NAME in the Open vSwitch tree's Makefile.
AC_DEFUN([OVS_VHOST_FROM_MAKEFILE],
  [$1=`sed -n 's/^$2 = *//p' "$OVS_BUILDDIR/Makefile" | sed 1q`])

# OVS_VHOST_OVS
#
# Adds --with-ovs and --enable-compat-check.  Finds or prepares the Open
# vSwitch tree.  Sets:
#
#   - OVS_SRCDIR and OVS_BUILDDIR: absolute names.
#   - OVS_CPPFLAGS and OVS_CFLAGS: what the tree itself is compiled with, as
#     far as it matters to somebody who includes its headers.
#   - DPDK_PLUGIN_LIBS: DPDK's libraries that the plugin may need.
#   - Conditionals WITH_OVS (there is a tree), BUILD_OVS (make has to build it),
#     COMPAT_CHECK (the plugin is compiled only).
AC_DEFUN([OVS_VHOST_OVS],
  [AC_ARG_WITH([ovs],
     [AS_HELP_STRING([--with-ovs=PATH],
        [Open vSwitch to build for: a tarball or directory of its sources,
         which is unpacked, patched and built in ./ovs, or a tree that is
         already patched, configured with DPDK and built, which is used as it
         is @<:@/usr/src/openvswitch/openvswitch.tar.gz@:>@])
AS_HELP_STRING([--without-ovs],
        [build only lib/vhost and its unit tests])],
     [], [with_ovs=yes])
   AC_ARG_ENABLE([compat-check],
     [AS_HELP_STRING([--enable-compat-check],
        [only compile the plugin, do not link it; accepts Open vSwitch trees
         without DPDK or not built yet (for "make check-compat")])],
     [], [enable_compat_check=no])

   ovs_vhost_build_ovs=no
   AS_CASE([$with_ovs],
     [no], [],
     [yes],
       [with_ovs=
        for ovs_vhost_path in /usr/src/openvswitch/openvswitch.tar.gz \
                              /usr/src/openvswitch; do
          AS_IF([test -f "$ovs_vhost_path" \
                 || test -f "$ovs_vhost_path/configure.ac"],
            [with_ovs=$ovs_vhost_path; break])
        done],
     [AS_IF([test ! -e "$with_ovs"],
        [OVS_VHOST_FAIL([--with-ovs: $with_ovs does not exist: give an Open
                       vSwitch tarball or source directory])])])

   AS_IF([test "$with_ovs" != no],
     [OVS_VHOST_PREREQUISITES
      ovs_vhost_absolute=`cd "\`dirname "$with_ovs"\`" && pwd`
      with_ovs=$ovs_vhost_absolute/`basename "$with_ovs"`
      AS_IF([test -e "$with_ovs/config.status"],
        [OVS_BUILDDIR=$with_ovs
         OVS_VHOST_CHECK_TREE],
        [OVS_BUILDDIR=`pwd`/ovs
         ovs_vhost_build_ovs=yes
         OVS_VHOST_PREPARE_TREE])
      OVS_VHOST_TREE_FLAGS])

   AC_SUBST([OVS_SRCDIR])
   AC_SUBST([OVS_BUILDDIR])
   AC_SUBST([OVS_CPPFLAGS])
   AC_SUBST([OVS_CFLAGS])
   AC_SUBST([DPDK_PLUGIN_LIBS])
   AM_CONDITIONAL([WITH_OVS], [test "$with_ovs" != no])
   AM_CONDITIONAL([BUILD_OVS], [test $ovs_vhost_build_ovs = yes])
   AM_CONDITIONAL([COMPAT_CHECK], [test "$enable_compat_check" = yes])])

# Says at once all that has to be installed, so that nobody runs configure ten
# times.
AC_DEFUN([OVS_VHOST_PREREQUISITES],
  [ovs_vhost_missing=
   OVS_VHOST_NEED([test -n "$with_ovs"], [openvswitch-source])
   OVS_VHOST_NEED([test -n "$PKG_CONFIG"], [pkg-config])
   OVS_VHOST_NEED([test -n "$PKG_CONFIG" && $PKG_CONFIG --exists libdpdk],
                  [libdpdk-dev])
   OVS_VHOST_NEED([test "$ac_cv_header_numa_h" = yes \
                   && test "$ac_cv_lib_numa_numa_available" = yes],
                  [libnuma-dev])
   OVS_VHOST_NEED([command -v patch >/dev/null], [patch])
   OVS_VHOST_NEED([command -v python3 >/dev/null], [python3])
   OVS_VHOST_NEED([command -v autoreconf >/dev/null], [autoconf])
   OVS_VHOST_NEED([command -v automake >/dev/null], [automake])
   OVS_VHOST_NEED([command -v libtoolize >/dev/null], [libtool])
   OVS_VHOST_NEED([command -v make >/dev/null], [make])
   AS_IF([test -n "$ovs_vhost_missing"],
     [OVS_VHOST_FAIL([this needs software that is not installed; on Debian:
                    apt install$ovs_vhost_missing])])])

# A tree that somebody else has configured.
AC_DEFUN([OVS_VHOST_CHECK_TREE],
  [OVS_VHOST_FROM_MAKEFILE([OVS_SRCDIR], [abs_top_srcdir])
   AC_MSG_CHECKING([whether $with_ovs can be used])
   AS_IF([test ! -f "$OVS_SRCDIR/lib/netdev-plugin.h"],
     [AC_MSG_RESULT([no])
      OVS_VHOST_FAIL([$with_ovs is configured but not patched: apply
                    vswitchd-patches to it and build it again])])
   AS_IF([test "$enable_compat_check" != yes],
     [AS_IF([grep '^#define DPDK_NETDEV' "$OVS_BUILDDIR/config.h" >/dev/null],
        [],
        [AC_MSG_RESULT([no])
         OVS_VHOST_FAIL([$with_ovs is configured without DPDK: configure it with
                       --with-dpdk=shared and build it again])])
      AS_IF([test ! -f "$OVS_BUILDDIR/lib/netdev-plugin-abi.h" \
             || test ! -x "$OVS_BUILDDIR/vswitchd/ovs-vswitchd"],
        [AC_MSG_RESULT([no])
         OVS_VHOST_FAIL([$with_ovs is configured but not built: run make in
                       it])])],
     [AS_IF([test ! -f "$OVS_BUILDDIR/lib/netdev-plugin-abi.h"],
        [AC_MSG_RESULT([no])
         OVS_VHOST_FAIL([$with_ovs has no lib/netdev-plugin-abi.h: run make
                       lib/netdev-plugin-abi.h in it])])])
   AC_MSG_RESULT([yes])])

AC_DEFUN([OVS_VHOST_PREPARE_TREE],
  [set x --prefix="$prefix" --exec-prefix="$exec_prefix"
   AS_IF([test "$prefix" = NONE], [set x --prefix="$ac_default_prefix"])
   AS_IF([test "$prefix" != NONE && test "$exec_prefix" = NONE],
     [set x --prefix="$prefix"])
   set "[$]@" --bindir="$bindir" --sbindir="$sbindir" --libdir="$libdir" \
       --libexecdir="$libexecdir" --datarootdir="$datarootdir" \
       --datadir="$datadir" --sysconfdir="$sysconfdir" \
       --localstatedir="$localstatedir" --mandir="$mandir" \
       --enable-silent-rules
   AS_IF([test "$enable_compat_check" = yes],
     [set "[$]@" --without-dpdk],
     [set "[$]@" --with-dpdk=shared])
   AS_IF([test -n "$build_alias"], [set "[$]@" --build="$build_alias"])
   AS_IF([test -n "$host_alias"], [set "[$]@" --host="$host_alias"])
   set "[$]@" CFLAGS="$ovs_vhost_user_CFLAGS"
   AS_IF([test -n "$CPPFLAGS"], [set "[$]@" CPPFLAGS="$CPPFLAGS"])
   AS_IF([test -n "$LDFLAGS"], [set "[$]@" LDFLAGS="$LDFLAGS"])
   shift

   AC_MSG_NOTICE([preparing Open vSwitch from $with_ovs (takes a minute)])
   ovs_vhost_patches=`cd "$srcdir/vswitchd-patches" && pwd`
   AS_IF([$SHELL "$srcdir/build-aux/prepare-ovs" "$with_ovs" ovs \
            "$ovs_vhost_patches" "[$]@" 2>ovs-error.txt],
     [rm -f ovs-error.txt],
     [ovs_vhost_error=`tail -n 1 ovs-error.txt`
      rm -f ovs-error.txt
      AC_MSG_ERROR([$ovs_vhost_error])])
   OVS_SRCDIR=$OVS_BUILDDIR])

AC_DEFUN([OVS_VHOST_TREE_FLAGS],
  [OVS_CPPFLAGS="-I$OVS_BUILDDIR -I$OVS_SRCDIR/include -I$OVS_BUILDDIR/include"
   OVS_CPPFLAGS="$OVS_CPPFLAGS -I$OVS_SRCDIR/lib -I$OVS_BUILDDIR/lib"
   OVS_CPPFLAGS="$OVS_CPPFLAGS -I$OVS_SRCDIR -D_FILE_OFFSET_BITS=64"

   # DPDK's headers mean other things with other options, so take the tree's.
   OVS_VHOST_FROM_MAKEFILE([OVS_CFLAGS], [OVS_CFLAGS])
   OVS_VHOST_FROM_MAKEFILE([ovs_vhost_flags], [WARNING_FLAGS])
   for ovs_vhost_flag in $ovs_vhost_flags; do
     AS_CASE([$ovs_vhost_flag], [-m*], [OVS_CFLAGS="$OVS_CFLAGS $ovs_vhost_flag"])
   done

   DPDK_PLUGIN_LIBS=
   OVS_VHOST_FROM_MAKEFILE([ovs_vhost_flags], [DPDK_vswitchd_LDFLAGS])
   AS_CASE([$ovs_vhost_flags],
     [*whole-archive*],
       # A static DPDK is part of ovs-vswitchd, and must not come twice.
       [],
     [DPDK_PLUGIN_LIBS="`$PKG_CONFIG --libs-only-L libdpdk` -Wl,--as-needed"
      for ovs_vhost_lib in eal mempool mbuf ring ethdev net telemetry; do
        DPDK_PLUGIN_LIBS="$DPDK_PLUGIN_LIBS -lrte_$ovs_vhost_lib"
      done])

   # Trees for the compile check may have been configured without DPDK, or with
   # another one than there is here.
   AS_IF([grep '^#define DPDK_NETDEV' "$OVS_BUILDDIR/config.h" >/dev/null], [],
     [OVS_CPPFLAGS="$OVS_CPPFLAGS -DDPDK_NETDEV=1"
      OVS_CFLAGS="$OVS_CFLAGS `$PKG_CONFIG --cflags libdpdk`"])

   # Where the switch will look for the plugin.
   AS_IF([test -f "$OVS_BUILDDIR/lib/netdev-plugin-abi.h"],
     [ovs_vhost_dir=`sed -n 's/^#define NETDEV_PLUGIN_DIR "\(.*\)"/\1/p' \
                       "$OVS_BUILDDIR/lib/netdev-plugin-abi.h"`
      ovs_vhost_our_dir=`
        test "$prefix" != NONE || prefix=$ac_default_prefix
        test "$exec_prefix" != NONE || exec_prefix=$prefix
        eval dir="$libdir"
        eval echo "$dir/openvswitch/plugins"`
      AS_IF([test "$ovs_vhost_dir" != "$ovs_vhost_our_dir"],
        [AC_MSG_NOTICE(m4_normalize([this switch looks for plugins in
          $ovs_vhost_dir while make install puts the plugin into
          $ovs_vhost_our_dir: give --libdir, or set OVS_NETDEV_PLUGINDIR in the
          environment of ovs-vswitchd]))])])])

# OVS_VHOST_OVS_FEATURES
#
# Finds out what differs between versions of Open vSwitch, which lib/netdev's
# compat.h then makes alike.  By looking, since distributors backport.
AC_DEFUN([OVS_VHOST_OVS_FEATURES],
  [ovs_vhost_save_CPPFLAGS=$CPPFLAGS
   ovs_vhost_save_CFLAGS=$CFLAGS
   CPPFLAGS="$OVS_CPPFLAGS $CPPFLAGS"
   CFLAGS="$CFLAGS $OVS_CFLAGS -w"
   # Without quotation marks: the tests below would lose them.
   m4_pushdef([OVS_INCLUDES],
     [[#include <config.h>
       #include <dp-packet.h>
       #include <netdev-provider.h>
       #include <ovs-atomic.h>
     ]])
   AC_MSG_CHECKING([whether Open vSwitch's headers compile])
   AC_COMPILE_IFELSE([AC_LANG_PROGRAM([OVS_INCLUDES], [])],
     [AC_MSG_RESULT([yes])],
     [AC_MSG_RESULT([no])
      OVS_VHOST_FAIL([the headers in $OVS_BUILDDIR do not compile: see
                    config.log, and check that the tree is built])])
   AC_CHECK_MEMBERS(
     [struct netdev_class.get_speed,
      struct netdev_class.get_duplex,
      struct dp_packet.offloads,
      struct dp_packet.has_hash,
      struct dp_packet.has_mark,
      struct dp_packet.csum_start,
      struct dp_packet_batch.capacity],
     [], [], [OVS_INCLUDES])
   AC_CHECK_DECLS(
     [dp_packet_reset_offload,
      dp_packet_ol_set_l4_csum_good,
      dp_packet_l4_checksum_set_good,
      dp_packet_l4_checksum_set_partial,
      dp_packet_set_tso_segsz,
      dp_packet_hwol_set_tcp_seg,
      dp_packet_hwol_is_tso,
      dp_packet_batch_destroy,
      dp_packet_batch_refill,
      dp_packet_batch_init_packet_fields,
      netdev_features_is_full_duplex],
     [], [], [OVS_INCLUDES])
   m4_popdef([OVS_INCLUDES])
   CPPFLAGS=$ovs_vhost_save_CPPFLAGS
   CFLAGS=$ovs_vhost_save_CFLAGS])
