/** Returns a hash of 48 bits: FNV-1a, twice, over the UTF-16 code units. */
export function hashOf(name: string): number {
  let low = 0x811c9dc5
  let high = 0x01234567
  for (let i = 0; i < name.length; i++) {
    const unit = name.charCodeAt(i)
    low = Math.imul(low ^ unit, 0x01000193)
    high = Math.imul(high ^ unit, 0x01000193) + i
  }
  high ^= high >>> 15
  return (high & 0xffff) * 0x100000000 + (low >>> 0)
}
