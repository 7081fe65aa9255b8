// SPDX-License-Identifier: Apache-2.0
/*
 * Keeps what libbpf prints, verifier logs first of all, until Python asks.  In
 * C because the callback takes a va_list, which ctypes cannot.
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "maps.h"

enum { DEBUG = 2 }; /* enum libbpf_print_level */

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* of what follows */
static char log_text[1 << 18];
static uint32_t log_len;

/* Of a text that does not fit the end is kept: there the verifier says why. */
static int printer(int level, const char *format, va_list args)
{
	char *line;
	uint32_t len;
	int n;

	if (level >= DEBUG)
		return 0;
	n = vasprintf(&line, format, args);
	if (n < 0)
		return n;
	len = (uint32_t)n;
	pthread_mutex_lock(&lock);
	if (len >= sizeof(log_text)) {
		memcpy(log_text, line + len - sizeof(log_text), sizeof(log_text));
		log_len = sizeof(log_text);
	} else {
		if (log_len + len > sizeof(log_text)) {
			uint32_t cut = log_len + len - sizeof(log_text);

			memmove(log_text, log_text + cut, log_len - cut);
			log_len -= cut;
		}
		memcpy(log_text + log_len, line, len);
		log_len += len;
	}
	pthread_mutex_unlock(&lock);
	free(line);
	return n;
}

void *ovn_log_printer(void)
{
	return (void *)printer;
}

int ovn_log_take(char *text, uint32_t room)
{
	uint32_t n;

	pthread_mutex_lock(&lock);
	n = log_len < room ? log_len : room - 1;
	memcpy(text, log_text + log_len - n, n);
	text[n] = '\0';
	log_len = 0;
	pthread_mutex_unlock(&lock);
	return (int)n;
}
