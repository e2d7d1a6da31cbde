/* CRC-32 of IEEE 802.3 (reflected, polynomial 0x04C11DB7, all ones before and after): finds every error of up to three
 * bits in a bridge message and every burst of up to 32 bits. */
#ifndef EDGEARM_CRC32_H
#define EDGEARM_CRC32_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

uint32_t edgearm_crc32(const uint8_t *bytes, size_t count);

#ifdef __cplusplus
}
#endif

#endif
