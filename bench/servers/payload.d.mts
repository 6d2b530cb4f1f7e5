export function nowMicros(): number
export function makePayload(source: number, number: number, payloadBytes: number, sentMicros?: number): string
export function readHeader(text: string): { number: number; source: number; sentMicros: number }
export function seededRandom(seed: number): () => number
