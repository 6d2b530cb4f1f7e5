import { deadEngine } from './dead-engine.ts'
import { deploy } from './deploy.ts'
import type { Drill } from './drill.ts'
import { hangingEngine } from './hanging-engine.ts'
import { reconnectStorm } from './reconnect-storm.ts'
import { refusedOrigin } from './refused-origin.ts'
import { roomsLeak } from './rooms-leak.ts'
import { slowClient } from './slow-client.ts'
import { tooBig } from './too-big.ts'

/** All drills, by the names under which they are run. */
export const DRILLS: Readonly<Record<string, Drill>> = {
  'slow-client': slowClient,
  'dead-engine': deadEngine,
  'hanging-engine': hangingEngine,
  'reconnect-storm': reconnectStorm,
  deploy,
  'refused-origin': refusedOrigin,
  'too-big': tooBig,
  'rooms-leak': roomsLeak,
}
