/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * dns_lookup: a query becomes the response that the agent has made of the Southbound's
 * DNS rows (RFC 1035), as slowpath/dns.py does it.
 */
#ifndef OVN_BPF_SERVE_DNS_H
#define OVN_BPF_SERVE_DNS_H

#include "serve.h"

#define DNS_HEADER 12
#define DNS_IN 1
#define DNS_TTL 3600
#define DNS_RESPONSE 0x8000
#define DNS_REFUSED 5
#define DNS_POINTER (0xc000 | DNS_HEADER) /* where the question's name begins */
#define DNS_RECORD 12			  /* bytes of one in front of its data */

enum { DNS_A = 1, DNS_PTR = 12, DNS_AAAA = 28, DNS_ANY = 255 };

/* What is asked. */
struct dns_query {
	__u32 id_flags;
	__u32 at;  /* of the name in the frame */
	__u32 len; /* of the question: name, type, class */
	__u32 type;
};

struct dns_walk {
	struct scratch *s;
};

/* One byte of the name: to lower case, and zeroes behind its end. */
static long dns_name_byte(__u32 i, struct dns_walk *c)
{
	struct scratch *s = c->s;
	__u8 *b = s->serve.key.name + (i & (OVN_NAME_BYTES - 1));

	if (s->serve.end) {
		*b = 0;
	} else if (!s->serve.left) {
		s->serve.left = *b;
		if (!*b)
			s->serve.end = i + 1;
		else if (*b > 63)
			return 1;
	} else {
		s->serve.left--;
		if (*b >= 'A' && *b <= 'Z')
			*b += 'a' - 'A';
		/* A name with a dot in a label reads like one with two labels. */
		if (*b == '.' || *b & 0x80)
			s->serve.odd = 1;
	}
	return 0;
}

/* The name that is asked for, as a key.  Returns SERVE_DONE if there is one. */
static __noinline int dns_name(struct __sk_buff *skb, struct scratch *s, struct dns_query *q,
			       __u32 left)
{
	__u32 n = left < OVN_NAME_BYTES ? left : OVN_NAME_BYTES;
	struct dns_walk c = { .s = s };

	__builtin_memset(&s->serve.key, 0, sizeof(s->serve.key));
	s->serve.key.dp = s->cur.w[OW_DP];
	s->serve.left = 0;
	s->serve.end = 0;
	s->serve.odd = 0;
	if (!n)
		return SERVE_NO;
	n--;
	hide(n);
	n = (n & (OVN_NAME_BYTES - 1)) + 1;
	if (bpf_skb_load_bytes(skb, q->at, s->serve.key.name, n))
		return SERVE_NO;
	bpf_loop(OVN_NAME_BYTES, dns_name_byte, &c, 0);
	if (s->serve.left > 63)
		return SERVE_NO;
	if (!s->serve.end && left >= OVN_NAME_BYTES)
		return SERVE_PASS;
	q->len = s->serve.end + 4;
	if (!s->serve.end || q->len > left)
		return SERVE_NO;
	return s->serve.odd ? SERVE_PASS : SERVE_DONE;
}

/* The query, in q; SERVE_DONE if it is one of ours. */
static __noinline int dns_query(struct __sk_buff *skb, struct scratch *s, struct dns_query *q)
{
	__u32 len;
	__u8 b[8] HEADER;
	int err;

	if (IP_PROTO(s) != PROTO_UDP || !s->l4 || (s->ip4_len && s->ip4_len != IP4_LEN) ||
	    (!s->ip4_len && s->l4 != ETH_LEN + IP6_LEN))
		return SERVE_PASS;
	if (bpf_skb_load_bytes(skb, s->l4 + 4, b, 2))
		return SERVE_NO;
	len = get16(b);
	if (len > s->l4_len || len < UDP_LEN + DNS_HEADER ||
	    bpf_skb_load_bytes(skb, s->l4 + UDP_LEN, b, 6))
		return SERVE_NO;
	q->id_flags = get32(b);
	if (q->id_flags & DNS_RESPONSE || get16(b + 4) != 1)
		return SERVE_NO;
	q->at = s->l4 + UDP_LEN + DNS_HEADER;
	err = dns_name(skb, s, q, len - UDP_LEN - DNS_HEADER);
	if (err)
		return err;
	if (bpf_skb_load_bytes(skb, q->at + q->len - 4, b, 2))
		return SERVE_NO;
	q->type = get16(b);
	if (q->type != DNS_A && q->type != DNS_AAAA && q->type != DNS_PTR && q->type != DNS_ANY)
		return SERVE_NO;
	return SERVE_DONE;
}

/* What the agent says of the name, copied to scratch memory. */
static __noinline int dns_find(struct scratch *s)
{
	const struct ovn_name *found = bpf_map_lookup_elem(&ovn_names, &s->serve.key);
	struct ovn_name *n = &s->serve.name;

	if (!found) {
		__builtin_memset(s->serve.key.name, 0, OVN_NAME_BYTES);
		return bpf_map_lookup_elem(&ovn_names, &s->serve.key) ? SERVE_NO : SERVE_PASS;
	}
	__builtin_memcpy(n, found, sizeof(*n));
	barrier();
	if (n->first != n->last || n->first != *(volatile const __u64 *)&found->first)
		return SERVE_PASS;
	if (n->n4 > OVN_NAME_ADDRS || n->n6 > OVN_NAME_ADDRS || n->ptr_len > OVN_NAME_BYTES)
		return DROP_BUG;
	return SERVE_DONE;
}

/* How many records of which kinds answer; refused: none, and nobody else may know. */
static __always_inline int dns_count(struct ovn_name *n, __u32 type, __u32 *refused)
{
	if (type == DNS_PTR) {
		n->n4 = 0;
		n->n6 = 0;
		return n->flags & OVN_NAME_LONGER ? SERVE_PASS
		       : n->flags & OVN_NAME_PTR  ? SERVE_DONE
						  : SERVE_NO;
	}
	n->ptr_len = 0;
	if (n->flags & OVN_NAME_MORE)
		return SERVE_PASS;
	if (!(n->flags & OVN_NAME_ADDR))
		return SERVE_NO;
	if (type == DNS_AAAA)
		n->n4 = 0;
	if (type == DNS_A)
		n->n6 = 0;
	*refused = !n->n4 && !n->n6;
	return *refused && (!(n->flags & OVN_NAME_OWNED) || type == DNS_ANY) ? SERVE_NO
									     : SERVE_DONE;
}

struct dns_put {
	struct __sk_buff *skb;
	struct scratch *s;
	__u32 at;
	__u32 turn; /* which address comes first */
	__u32 failed;
};

static __always_inline void dns_record(__u8 *b, __u32 type, __u32 len)
{
	put16(b, DNS_POINTER);
	put16(b + 2, type);
	put16(b + 4, DNS_IN);
	put32_even(b + 6, DNS_TTL);
	put16(b + 10, len);
}

/* The i-th address. */
static long dns_put_address(__u32 i, struct dns_put *c)
{
	struct ovn_name *n = &c->s->serve.name;
	__u8 b[DNS_RECORD + 16] HEADER;
	__u32 k;

	if (i < n->n4) {
		k = (i + c->turn) % n->n4;
		dns_record(b, DNS_A, 4);
		__builtin_memcpy(b + DNS_RECORD, n->ip4[k & (OVN_NAME_ADDRS - 1)], 4);
		c->failed |= bpf_skb_store_bytes(c->skb, c->at, b, DNS_RECORD + 4, 0);
		c->at += DNS_RECORD + 4;
		return 0;
	}
	i -= n->n4;
	if (i >= n->n6)
		return 1;
	k = (i + c->turn) % n->n6;
	dns_record(b, DNS_AAAA, 16);
	__builtin_memcpy(b + DNS_RECORD, n->ip6[k & (OVN_NAME_ADDRS - 1)], 16);
	c->failed |= bpf_skb_store_bytes(c->skb, c->at, b, DNS_RECORD + 16, 0);
	c->at += DNS_RECORD + 16;
	return 0;
}

static __always_inline int dns_put_name(struct __sk_buff *skb, struct scratch *s, __u32 at)
{
	__u32 len = s->serve.name.ptr_len - 1;
	__u8 b[DNS_RECORD] HEADER;

	dns_record(b, DNS_PTR, len + 1);
	hide(len);
	len = (len & (OVN_NAME_BYTES - 1)) + 1;
	return bpf_skb_store_bytes(skb, at, b, DNS_RECORD, 0) ||
	       bpf_skb_store_bytes(skb, at + DNS_RECORD, s->serve.name.ptr, len, 0);
}

/* The response over the query.  Returns SERVE_DONE or a drop reason. */
static __noinline int dns_respond(struct __sk_buff *skb, struct scratch *s,
				  const struct dns_query *q, __u32 refused)
{
	const struct ovn_name *n = &s->serve.name;
	__u32 records = n->ptr_len ? 1 : n->n4 + n->n6, len = q->len - 1;
	__u32 whole = DNS_HEADER + q->len + n->n4 * (DNS_RECORD + 4) + n->n6 * (DNS_RECORD + 16) +
		      (n->ptr_len ? DNS_RECORD + n->ptr_len : 0);
	__u8 *b = s->buf.bytes + 4; /* so that the question is aligned */
	struct dns_put c = { .skb = skb, .s = s };
	int err;

	hide(len);
	len = (len & 255) + 1;
	if (bpf_skb_load_bytes(skb, q->at, b + DNS_HEADER, len))
		return DROP_STORE;
	err = resize(skb, s, s->l4 + 6, q->at - DNS_HEADER + whole);
	if (err)
		return err;
	put32(b, q->id_flags | DNS_RESPONSE | (refused ? DNS_REFUSED : 0));
	put32(b + 4, 1 << 16 | records);
	put32(b + 8, 0);
	if (bpf_skb_store_bytes(skb, q->at - DNS_HEADER, b, DNS_HEADER, 0) ||
	    bpf_skb_store_bytes(skb, q->at, b + DNS_HEADER, len, 0))
		return DROP_STORE;
	c.at = q->at + q->len;
	if (n->ptr_len) {
		if (dns_put_name(skb, s, c.at))
			return DROP_STORE;
	} else {
		c.turn = bpf_get_prandom_u32() & 0xffff;
		bpf_loop(2 * OVN_NAME_ADDRS, dns_put_address, &c, 0);
		if (c.failed)
			return DROP_STORE;
	}
	return put_udp(skb, s, whole, 0);
}

/* Returns enum serve_result or a drop reason. */
static __noinline int serve_dns(struct __sk_buff *skb, struct scratch *s)
{
	struct dns_query q = {};
	__u32 refused = 0;
	int err;

	if (!s)
		return DROP_BUG;
	err = dns_query(skb, s, &q);
	if (!err)
		err = dns_find(s);
	if (!err)
		err = dns_count(&s->serve.name, q.type, &refused);
	if (!err)
		err = dns_respond(skb, s, &q, refused);
	return err ?: answered(s);
}

#endif
