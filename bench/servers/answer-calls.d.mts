/** @param check runs before each call; what it throws is the answer */
export function answerCalls(
  calls: Readonly<Record<string, (options: never) => unknown>>,
  check?: () => void,
): void
