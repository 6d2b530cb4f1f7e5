export type { Logger, LogOptions } from './log-options.ts'
export { logTo } from './log-to.ts'
