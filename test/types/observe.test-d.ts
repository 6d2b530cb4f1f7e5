// Checked by `npm run types`, and never run: the types of what a hub tells about itself.
import { expectTypeOf } from 'vitest'
import {
  type CloseCount,
  type Distribution,
  type HistogramName,
  type Hub,
  type HubDiagnostics,
  type Instrument,
  instruments,
  type Labels,
  type Reading,
  readInstruments,
} from 'wshub'

declare const hub: Hub
declare const typedHub: Hub<{ userId: string }>

expectTypeOf(hub.stats().distributions.pingDuration).toEqualTypeOf<Distribution>()
expectTypeOf(hub.stats().closeCauses).toEqualTypeOf<readonly CloseCount[]>()
expectTypeOf(instruments).toEqualTypeOf<readonly Instrument[]>()
expectTypeOf(readInstruments(hub)).toEqualTypeOf<Reading[]>()
expectTypeOf(readInstruments(typedHub)).toEqualTypeOf<Reading[]>()
expectTypeOf<Reading['samples'][number]['labels']>().toEqualTypeOf<Labels>()
expectTypeOf<HubDiagnostics['wshub:measure']['histogram']>().toEqualTypeOf<HistogramName>()
