/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Every bound of the interpreter, named.  Hitting one is a counted drop with
 * its own reason, never silence.  Included by all the other headers.
 */
#ifndef OVN_BPF_BOUNDS_H
#define OVN_BPF_BOUNDS_H

#define OVN_MAX_STEPS 8192    /* stages, group members and frames per packet */
#define OVN_MAX_STACK 64      /* work items waiting; a power of two */
#define OVN_MAX_SAVED 16      /* contexts kept for clones and groups; likewise */
#define OVN_MAX_DEFERRED 4    /* sends to other chassis waiting for the end */
#define OVN_MAX_DEPTH 4	      /* programs nested on one CPU */
#define OVN_MAX_FIELDS 16     /* words on OVN's push/pop stack */
#define OVN_MAX_SETS 512      /* that one address or port is a member of */
#define OVN_MAX_SET_SLOTS 64  /* chained for them */
#define OVN_MAX_COMBOS 65536  /* of sets of several fields, under one mask */
#define OVN_MAX_VERSIONS 4    /* versions of one key alive at a time */
#define OVN_SLOT_TRIES 2      /* look-ups of a key whose slot had another one */
#define OVN_MAX_SKIPS 8	      /* trivial stages linked one after another */
#define OVN_MAX_EXT 8	      /* IPv6 extension headers */
#define OVN_MAX_ND_OPTS 8     /* options in a neighbour message */
#define OVN_MAX_TUN_OPTS 16   /* options in a Geneve header */
#define OVN_MAX_DHCP 512      /* bytes of options and padding in a request */
#define OVN_INSNS_PER_STEP 16 /* then the loop is asked for another step */
#define OVN_ORIG_BYTES 256    /* of a frame that a reply replaces */
#define OVN_SUM_BYTES 512     /* that are summed at a time; a power of two */

/* On 6.1 the frames of all functions that are active at once, callbacks
 * included and each rounded up to 32 bytes, may have 512 bytes together: what
 * needs stack is best a leaf of its own (tests/support/stack.py counts). */
#define OVN_MAX_STACK_BYTES 512

/* Keep the compiler from folding a bound check into arithmetic that the
 * verifier cannot follow. */
#define hide(var) asm volatile("" : "+r"(var))

/* Before a loop that asks maps: it is not written out.  The kernel inlines each
 * look-up in turn and moves all that follows it, 50 us of every start. */
#define ROLLED _Pragma("clang loop unroll(disable)")

#endif
