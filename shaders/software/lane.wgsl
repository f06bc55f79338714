// A thread's eight weights of a group for one row, when four threads share it: 4 · lane and the three that follow, and those 16
// after them. A layout's file has `lane_of`, and `start_of`: where a row begins in codes and scales. A weight is
// scale · code · unit + minimum, LOW and HIGH being the units; the minimum is 0 unless MINIMUM.
struct Lane {
    low: vec4<f32>,
    high: vec4<f32>,
    scale: f32,
    minimum: f32,
}
