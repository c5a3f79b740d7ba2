// ws with a loop over the subscribers, as its documentation has it. `node ws.mjs PORT`
import { WebSocket, WebSocketServer } from 'ws';

const server = new WebSocketServer({
  host: '127.0.0.1', port: Number(process.argv[2]), backlog: 4096, perMessageDeflate: false, clientTracking: false,
});
const subscribers = new Set();

server.on('connection', (socket) => {
  socket.on('error', () => {}); // 'close' comes too.
  socket.on('close', () => subscribers.delete(socket));
  socket.on('message', (message, binary) => {
    if (message[0] === 0x50) {
      for (const subscriber of subscribers) {
        if (subscriber.readyState === WebSocket.OPEN) subscriber.send(message, { binary });
      }
    } else if (message.length < 64 && message.toString().startsWith('SUB ')) {
      subscribers.add(socket);
    } else {
      socket.send(message, { binary });
    }
  });
});
