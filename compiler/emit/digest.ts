/**
 * @file A short name for a long text: equal texts have equal names, different ones hardly ever.
 */

/** 128 bits of FNV-1a, four lanes from different starts, in hexadecimal. For telling texts apart, not for secrets. */
export function digestOf(text: string): string {
  const lanes = [0x811c9dc5, 0x050c5d1f, 0x9e3779b9, 0x7f4a7c15];
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i);
    for (let lane = 0; lane < lanes.length; lane++) {
      const mixed = Math.imul((lanes[lane] as number) ^ code ^ (lane * 0x5b), 0x01000193); // four lanes
      lanes[lane] = mixed ^ (mixed >>> 15);
    }
  }
  return lanes.map((lane) => (lane >>> 0).toString(16).padStart(8, "0")).join("");
}
