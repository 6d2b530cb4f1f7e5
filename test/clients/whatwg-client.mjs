/**
 * A WebSocket with the interface of browsers, controlled by commands: in a page of Chromium as well as in
 * Node.
 * @param WebSocket the class
 * @param emit receives the events
 */
export function whatwgClient(WebSocket, emit) {
  let socket
  return (command) => {
    if (command.do === 'open') {
      socket = new WebSocket(command.url, command.protocols)
      socket.binaryType = 'arraybuffer'
      let isOpen = false
      socket.onopen = () => {
        isOpen = true
        emit({ event: 'open', protocol: socket.protocol })
      }
      socket.onmessage = ({ data }) => {
        if (typeof data === 'string') emit({ event: 'text', data })
        else
          emit({
            event: 'binary',
            data: Array.from(new Uint8Array(data), (byte) => String.fromCharCode(byte)).join(''),
          })
      }
      socket.onclose = ({ code, reason, wasClean }) => {
        if (isOpen) emit({ event: 'close', code, reason, wasClean })
      }
      // The `close` that should follow is missing in Node 22.
      socket.onerror = () => {
        if (!isOpen) emit({ event: 'failed' })
      }
    }
    if (command.do === 'text') socket.send(command.data)
    if (command.do === 'binary') socket.send(Uint8Array.from(command.data, (byte) => byte.charCodeAt(0)))
    if (command.do === 'close') socket.close(...command.with)
    return socket
  }
}
