/** A process with a hub that a test controls: forked with a `BackplaneSpec`, or a worker of node:cluster. */
import { answer, isCall } from '../support/call.ts'
import { type BackplaneSpec, backplaneOf } from './backplane-spec.ts'
import { hubMethods } from './hub-methods.ts'

const [, , json = '{"engine":"node-cluster"}'] = process.argv
const spec = JSON.parse(json) as BackplaneSpec // of the test that forked it
const methods = hubMethods(() => backplaneOf(spec))

process.on('message', async (message: unknown) => {
  if (isCall(message)) process.send?.(await answer(methods, message))
})
process.on('disconnect', () => process.exit()) // also when the test has been killed
process.send?.('ready')
