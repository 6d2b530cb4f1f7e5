/**
 * The parts of `wshub` that a page can import too: a bundler finds no code for Node behind this entry.
 * @module
 */
export { CloseCode } from './protocol/close-code.ts'
